"""Metrics from draws and gradients: exact for normals, and nothing but scales where nothing stands out."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.mcmc.kernel import fisher
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.metric import DENSE, DIAGONAL, LOW_RANK, Metric
from sursum.mcmc.kernel.state import State


def drawn(covariance: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    q = np.random.default_rng(seed).multivariate_normal(np.ones(len(covariance)), covariance, size=count)
    return q, -(q - 1.0) @ np.linalg.inv(covariance)


def spiked(n: int) -> np.ndarray:
    """Scales of three orders of magnitude, and two directions that stand out beside them."""
    u = np.linalg.qr(np.random.default_rng(3).normal(size=(n, 2)))[0]
    scale = np.logspace(-1.5, 1.5, n)
    return scale[:, None] * (np.eye(n) + u @ np.diag([99.0, -0.99]) @ u.T) * scale


def covariance_of(metric: Metric) -> np.ndarray:
    a = np.stack([metric.outward(row) for row in np.eye(len(metric.scale))], axis=1)
    return a @ a.T


def conditioning(metric: Metric, covariance: np.ndarray) -> float:
    """The condition number that is left."""
    a = np.stack([metric.outward(row) for row in np.eye(len(metric.scale))], axis=1)
    values = np.linalg.eigvalsh(np.linalg.solve(a, np.linalg.solve(a, covariance).T))
    return float(values[-1] / values[0])


def test_a_dense_metric_is_exact_for_a_normal():
    covariance = spiked(20)
    found = fisher.dense(*drawn(covariance, 60))
    assert found.kind == DENSE
    assert np.allclose(covariance_of(found), covariance, rtol=1e-4, atol=1e-4 * np.abs(covariance).min())


@pytest.mark.parametrize(("n", "count"), [(20, 120), (60, 100), (400, 200)])
def test_a_low_rank_metric_leaves_little_of_what_stands_out(n, count):
    covariance = spiked(n)
    found = fisher.low_rank(*drawn(covariance, count))
    assert found.kind == LOW_RANK
    assert np.allclose(found.vectors @ found.vectors.T, np.eye(found.rank), atol=1e-8)
    plain = Metric.diagonal(fisher.scales(*drawn(covariance, count)) ** 2)
    assert conditioning(found, covariance) < 0.1 * conditioning(plain, covariance)
    assert 4.0 < fisher.shortening(found) < 200.0


@pytest.mark.parametrize(("n", "count"), [(5, 60), (60, 100), (400, 120)])
def test_chance_does_not_stand_out(n, count):
    q, g = drawn(np.diag(np.logspace(-2, 2, n)), count)
    g = g + np.random.default_rng(2).normal(size=g.shape) * 0.3 * g.std(axis=0)  # as if the target were no normal
    assert fisher.shortening(fisher.low_rank(q, g)) < 2.0


def test_coordinates_that_do_not_move_have_scale_one():
    q, g = np.zeros((30, 3)), np.zeros((30, 3))
    q[:, 0], g[:, 0] = np.arange(30.0), -np.arange(30.0) / 4.0
    assert fisher.scales(q, g).tolist() == [2.0, 1.0, 1.0]
    assert fisher.low_rank(q, g).kind == DIAGONAL


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_gradients_that_do_not_vary_say_nothing(noise):
    """Of a log density that is flat by one coordinate and linear by another, as it is between walls."""
    q, g = drawn(np.diag([1.0, 1.0, 9.0]), 200)
    g[:, :2] = np.array([0.0, 1.0]) * (1.0 + noise * np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=(200, 1)))
    found = fisher.low_rank(q, g)
    assert found.kind == DIAGONAL
    np.testing.assert_allclose(found.scale, [1.0, 1.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(covariance_of(fisher.dense(q, g)), np.diag([1.0, 1.0, 9.0]), rtol=1e-6, atol=1e-6)
    assert fisher.low_rank(q[:, :2], g[:, :2]).kind == DIAGONAL


@pytest.mark.parametrize(("kind", "metric"), [("auto", LOW_RANK), ("low_rank", LOW_RANK), ("dense", DENSE)])
def test_a_look_back_changes_the_metric_where_it_is_worth_it(kind, metric):
    adaptation = Adaptation(kind, 1000)
    assert adaptation.until(0) == adaptation.looks[0]
    assert adaptation.until(adaptation.looks[-1]) is None
    state = State.create(np.zeros(20), 0.0, np.ones(20), key=1, num_warmup=1000)
    state.head["draw"] = adaptation.looks[1]
    changed = adaptation.look(state, *drawn(spiked(20), 100))
    assert changed.metric.kind == metric
    assert (changed.head["adapts_metric"], changed.head["search"]) == (0, 1)
    assert adaptation.look(state, np.zeros((50, 20)), np.zeros((50, 20))) is state


def test_scales_alone_are_kept_where_nothing_stands_out():
    state = State.create(np.zeros(20), 0.0, np.ones(20), key=1, num_warmup=1000)
    state.head["draw"] = 500
    assert Adaptation("auto", 1000).look(state, *drawn(np.diag(np.logspace(-2, 2, 20)), 100)) is state


def test_few_draws_must_show_more_than_many_and_what_they_showed_is_taken_back():
    covariance = np.eye(4)
    covariance[0, 1] = covariance[1, 0] = 0.985  # trajectories that are 4 times as long as they need be
    state = State.create(np.zeros(4), 0.0, np.ones(4), key=1, num_warmup=1000)
    state.head["draw"] = 500
    assert Adaptation("auto", 1000).look(state, *drawn(covariance, 30)) is state
    changed = Adaptation("auto", 1000).look(state, *drawn(covariance, 400))
    assert (changed.metric.kind, changed.head["adapts_metric"]) == (LOW_RANK, 0)
    changed.head["old_count"] = 7
    back = Adaptation("auto", 1000).look(changed, *drawn(np.diag([1.0, 4.0, 9.0, 16.0]), 400))
    assert back.metric.kind == DIAGONAL
    assert back["scale"].tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert [int(back.head[name]) for name in ("adapts_metric", "search", "old_count", "new_count")] == [1, 1, 0, 0]
    assert Adaptation("low_rank", 1000).look(state, *drawn(covariance, 30)).metric.kind == LOW_RANK


@pytest.mark.parametrize("kind", ["diagonal", "given"])
def test_other_kinds_do_not_look_back(kind):
    assert Adaptation(kind, 1000).looks == ()


def test_numbers_without_an_eigenvalue_change_nothing():
    state = State.create(np.zeros(3), 0.0, np.ones(3), key=1, num_warmup=1000)
    state.head["draw"] = 500
    wild = np.random.default_rng(0).normal(size=(100, 3)) * 1e200
    with np.errstate(over="ignore", invalid="ignore"):
        assert Adaptation("low_rank", 1000).look(state, wild, wild * 1e100).metric.kind in (DIAGONAL, LOW_RANK)
