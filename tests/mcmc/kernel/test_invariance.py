"""The kernels leave their targets as they are: moments of exact targets, by C; metrics and step sizes where they are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from tests.mcmc.kernel import targets
from tests.mcmc.kernel.targets import KERNELS, begin, by_c

import sursum as su
import sursum.distributions as dist
from sursum.draws.ess_rhat import mixing
from sursum.errors import CompileError
from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.state import Transition


@pytest.fixture(scope="module")
def kernel() -> NativeKernel:
    try:
        return NativeKernel.open()
    except CompileError:
        pytest.skip("no C compiler")


def chains(compiled, density, draws: int, warmup: int, count: int = 4, **fields) -> tuple[np.ndarray, np.ndarray]:
    """Draws (chain, draw, n) after the warm-up, and their records."""
    states = [begin(density, 0.1 + 0.2 * k, key=1000 + k, num_warmup=warmup, **fields) for k in range(count)]
    made = [by_c(compiled, density, state, warmup + draws) for state in states]
    return np.stack([one.q[warmup:] for one in made]), np.stack([one.records[warmup:] for one in made])


def check_moments(q: np.ndarray, mean: float, variance: float) -> None:
    """One coordinate, (chain, draw), by its Monte-Carlo error."""
    for x, expected in ((q, mean), ((q - mean) ** 2, variance)):
        error = x.std() / np.sqrt(float(mixing(x).ess_bulk))
        assert abs(x.mean() - expected) < 4.5 * error, (x.mean(), expected, error)


@pytest.mark.parametrize("name", KERNELS)
def test_a_normal_of_any_scales(kernel, name):
    scales = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)
    density = su.compile(lambda: su.sample("x", dist.Normal(2.0 * scales, scales).to_event(1)), engine="native")
    q, records = chains(kernel, density, 1500, 500, kernel=KERNELS[name])
    for i, scale in enumerate(scales.tolist()):
        check_moments(q[..., i] / scale, 2.0, 1.0)
    assert not records["diverging"].any()
    assert 0.7 < records["accepted"].mean() < 0.95


@pytest.mark.parametrize("name", KERNELS)
def test_a_correlated_normal_in_its_own_metric_is_an_independent_one(kernel, name):
    covariance = torch.tensor([[1.0, 0.999], [0.999, 1.0]], dtype=torch.float64)
    density = su.compile(lambda: su.sample("x", dist.MultivariateNormal(torch.zeros(2), covariance)), engine="native")
    metric = Metric.dense(covariance.numpy())
    q, records = chains(kernel, density, 1500, 300, kernel=KERNELS[name], metric=metric)
    check_moments(q[..., 0], 0.0, 1.0)
    check_moments((q[..., 0] - q[..., 1]) / np.sqrt(0.002), 0.0, 1.0)
    assert records["steps"].mean() < 8.0


@pytest.mark.parametrize("name", KERNELS)
def test_a_density_that_is_zero_beyond_a_bound(kernel, name):
    density = su.compile(targets.bounded, engine="native")
    q, _ = chains(kernel, density, 3000, 300, kernel=KERNELS[name])
    assert (q[..., 0] > 0.0).all()
    check_moments(q[..., 0], np.sqrt(2.0 / np.pi), 1.0 - 2.0 / np.pi)
    check_moments(q[..., 1], 0.0, 1.0)


def test_heavy_tails(kernel):
    density = su.compile(lambda: su.sample("x", dist.StudentT(3.0, 0.0, 1.0)), engine="native")
    q, _ = chains(kernel, density, 4000, 500, kernel=Transition.NUTS)
    p = stats.t(3.0).cdf(q[..., 0])
    check_moments(p, 0.5, 1.0 / 12.0)


@pytest.mark.slow
def test_walnuts_reaches_the_neck_of_the_funnel(kernel):
    density = su.compile(targets.funnel, engine="native")
    q, records = chains(kernel, density, 20000, 1000, kernel=Transition.WALNUTS, target=0.8)
    check_moments(q[..., 0] / 3.0, 0.0, 1.0)
    below = (q[..., 0] < -6.0).astype(float)
    assert abs(below.mean() - stats.norm.cdf(-2.0)) < 4.5 * below.std() / np.sqrt(float(mixing(below).ess_bulk))
    assert records["diverging"].mean() < 0.001


@pytest.mark.parametrize("name", KERNELS)
def test_one_transition_keeps_exact_draws_exact(kernel, name):
    """From independent draws of the target one transition leads to draws of the target, whatever its step size."""
    density = su.compile(targets.funnel, engine="native")
    rng = np.random.default_rng(5)
    count, after = 1000, []
    for k in range(count):
        v = rng.normal(0.0, 3.0)
        q = np.array([v, *rng.normal(0.0, np.exp(0.5 * v), 2)])
        state = begin(
            density, q, key=k, num_warmup=0, kernel=KERNELS[name], step_size=0.6, metric=Metric.unit(3), max_depth=4,
            max_halvings=6, length=2.0,
        )  # fmt: skip
        after.append(by_c(kernel, density, state, 1).q[0])
    found = np.array(after)
    assert stats.kstest(found[:, 0], stats.norm(0.0, 3.0).cdf).pvalue > 1e-3
    assert stats.kstest(found[:, 1] / np.exp(0.5 * found[:, 0]), "norm").pvalue > 1e-3


def test_a_chain_that_starts_far_away_arrives(kernel):
    """A log density of -1e13 at the start, which falls by orders of magnitude on the way."""

    def model() -> None:
        s = su.sample("s", dist.Normal(0.0, 3.0))
        x = su.sample("x", dist.Normal(torch.zeros(50), (0.1 * s).exp()).to_event(1))
        su.factor("cliff", -((2.0 * s).exp()) * 1e-3 - (x[0] - 1.0) ** 2)

    density = su.compile(model, engine="native")
    start = np.full(51, 20.0)
    state = begin(density, start, num_warmup=300)
    assert float(state.head["value"]) < -1e13
    made = by_c(kernel, density, state, 600)
    assert made.records["value"][300:].min() > -200.0
    assert made.records["steps"][300:].mean() < 40
