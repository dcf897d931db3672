"""R-hat and effective sample sizes, held against ArviZ and against what is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sursum.draws.arviz import _arviz
from sursum.draws.ess_rhat import e_bfmi, mixing

arviz = _arviz()


def autoregressive(phi: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """x_t = φ x_{t-1} + ε_t, from its stationary distribution."""
    noise = np.random.default_rng(seed).normal(size=shape)
    x = noise / np.sqrt(1 - phi**2)
    for t in range(1, shape[1]):
        x[:, t] = phi * x[:, t - 1] + noise[:, t]
    return x


def of_arviz(draws: np.ndarray) -> list[np.ndarray]:
    """By ArviZ 0.x or 1.x, whose default for the tails is another."""
    data = xarray.Dataset({"x": (("chain", "draw", *map(str, range(draws.ndim - 2))), draws)})
    found = (arviz.rhat(data), arviz.ess(data), arviz.ess(data, method="tail", prob=(0.05, 0.95)))
    return [np.asarray(part["x"]) for part in found]


def assert_equals_arviz(draws: np.ndarray) -> None:
    found = mixing(draws)
    for ours, theirs in zip((found.r_hat, found.ess_bulk, found.ess_tail), of_arviz(draws), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("phi", [0.0, 0.95, -0.9])
@pytest.mark.parametrize("shape", [(4, 1000, 3), (4, 101, 2, 2), (2, 4), (3, 5, 4), (2, 6, 9), (4, 50, 5)])
def test_equals_arviz(phi, shape):
    assert_equals_arviz(autoregressive(phi, shape))


def test_equals_arviz_with_ties():
    draws = autoregressive(0.5, (4, 300, 4))
    assert_equals_arviz(np.round(draws))
    assert_equals_arviz((draws > 1).astype(np.int64))


def test_equals_arviz_for_chains_that_disagree():
    draws = autoregressive(0.5, (4, 200, 3))
    draws[0, :, 1] += 5.0
    draws[1, :, 2] *= 20.0
    assert_equals_arviz(draws)
    assert mixing(draws).r_hat[1] > 1.5
    # Equal means and unequal scales show in the folded draws only.
    assert mixing(draws).r_hat[2] > 1.2


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, (3, 12), elements=st.floats(-3, 3, width=16)))
def test_equals_arviz_on_anything(draws):
    if draws.max() - draws.min() > 0 and (draws.var(axis=1) > 0).any():
        with np.errstate(all="ignore"):
            assert_equals_arviz(draws)


@pytest.mark.parametrize("phi", [0.0, 0.8, -0.5])
def test_the_size_of_a_known_chain(phi):
    """For an autoregressive chain the effective size of the mean is N (1 - φ) / (1 + φ)."""
    draws = autoregressive(phi, (4, 5000, 20))
    wanted = 20000 * (1 - phi) / (1 + phi)
    found = mixing(draws).ess_bulk
    assert abs(found.mean() / wanted - 1) < 0.1
    assert mixing(draws).r_hat.max() < 1.01


def test_a_mean_is_as_precise_as_its_size_says():
    """Over many repetitions the mean strays by sd / √ESS."""
    draws = autoregressive(0.7, (2, 500, 400), seed=3)
    error = draws.mean(axis=(0, 1))
    said = draws.std(axis=(0, 1)) / np.sqrt(mixing(draws).ess_bulk)
    # The mean square of 400 standard normals has a standard deviation of √(2/400).
    assert abs(np.mean((error / said) ** 2) - 1) < 4 * np.sqrt(2 / 400) + 0.1


def test_what_does_not_exist_is_nan():
    constant = mixing(np.full((4, 100, 2), 3.0))
    assert np.isnan(constant.r_hat).all()
    assert (constant.ess_bulk == 400).all()
    single = mixing(autoregressive(0.5, (1, 100)))
    assert np.isnan(single.r_hat)
    assert single.ess_bulk > 10
    short = mixing(np.zeros((4, 3, 2)))
    assert np.isnan(short.r_hat).all()
    assert np.isnan(short.ess_bulk).all()
    broken = autoregressive(0.5, (4, 100, 2))
    broken[2, 7, 1] = np.nan
    assert np.isnan(mixing(broken).ess_tail).tolist() == [False, True]
    assert mixing(np.zeros((4, 0, 3))).r_hat.shape == (3,)
    assert mixing(np.zeros((4, 10, 0))).r_hat.shape == (0,)


def test_chains_that_are_stuck_apart():
    stuck = np.broadcast_to(np.arange(4.0)[:, None], (4, 100))
    assert mixing(stuck).r_hat > 1e6


def test_e_bfmi_equals_arviz():
    energy = autoregressive(0.95, (4, 500))
    np.testing.assert_allclose(e_bfmi(energy), arviz.bfmi(energy), rtol=1e-12)
    assert (e_bfmi(energy) < 0.3).all()
    assert (e_bfmi(np.random.default_rng(0).normal(size=(2, 500))) > 1.5).all()
    assert np.isnan(e_bfmi(np.zeros((2, 3)))).all()
