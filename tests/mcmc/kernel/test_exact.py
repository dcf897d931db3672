"""Whole runs against exact quantiles: normals of any conditioning, heavy tails, bounds, a funnel; within Monte-Carlo errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
from sursum.draws.ess_rhat import mixing

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def rotated(conditioning: float) -> Callable[[], torch.Tensor]:
    """A normal of five unknowns whose covariance, in no direction of the axes, has that condition number."""
    u = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    covariance = u @ np.diag(np.logspace(-np.log10(conditioning), 0.0, 5)) @ u.T
    factor = torch.linalg.cholesky(torch.from_numpy(0.5 * (covariance + covariance.T)))
    return lambda: su.sample("x", dist.MultivariateNormal(torch.zeros(5, dtype=torch.float64), scale_tril=factor))


def along(conditioning: float) -> Callable[[np.ndarray], np.ndarray]:
    """The standard normals of which the draws of `rotated` are made; the last of them is the narrow one."""
    u = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    return lambda x: stats.norm.cdf(x @ u / np.logspace(-0.5 * np.log10(conditioning), 0.0, 5))


TARGETS: dict[str, tuple[Callable[[], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "conditioning 1e4": (rotated(1e4), along(1e4)),
    "conditioning 1e8": (rotated(1e8), along(1e8)),
    "student": (lambda: su.sample("x", dist.StudentT(2.0, 0.0, 1.0)), stats.t(2.0).cdf),
    "cauchy": (lambda: su.sample("x", dist.Cauchy(0.0, 1.0)), stats.cauchy.cdf),
    "between bounds": (lambda: su.sample("x", dist.Beta(0.5, 0.5)), stats.beta(0.5, 0.5).cdf),
    "above a bound": (lambda: su.sample("x", dist.Gamma(0.3, 2.0)), stats.gamma(0.3, scale=0.5).cdf),
}


def run(kernel: Any, model: Callable[[], Any], **settings: Any) -> su.Posterior:
    usual = {"num_samples": 2000, "seed": 3, "progress": False}
    return su.infer.MCMC(kernel(model), **{**usual, **settings}).run()


def check_uniform(u: np.ndarray) -> None:
    """Whether (chain, draw) are uniform numbers, by the share of them below each level and its Monte-Carlo error."""
    for level in LEVELS:
        below = (u <= level).astype(float)
        error = np.sqrt(level * (1.0 - level) / float(mixing(below).ess_bulk))
        assert abs(below.mean() - level) < 4.5 * error, (level, below.mean(), error)


@pytest.mark.parametrize(
    ("kernel", "target"),
    [
        (kernel, target) for kernel in (su.infer.NUTS, su.infer.HMC, su.infer.WALNUTS) for target in TARGETS
        if (kernel, target) != (su.infer.HMC, "cauchy")  # trajectories of one length are too short for its tails
    ],
)  # fmt: skip
def test_quantiles_are_exact(kernel, target):
    model, distribution = TARGETS[target]
    posterior = run(kernel, model)
    u = distribution(posterior["x"].numpy())
    for one in u.reshape(*u.shape[:2], -1).transpose(2, 0, 1):
        check_uniform(one)
    if target.startswith("conditioning"):  # the metric was found
        assert posterior.stats["n_steps"].mean() < 8.0


@pytest.mark.slow
def test_quantiles_of_a_funnel_are_exact_by_walnuts():
    """Ten unknowns, to a neck whose scale is e⁻⁴·⁵ and less."""

    def model() -> None:
        v = su.sample("v", dist.Normal(0.0, 3.0))
        su.sample("x", dist.Normal(torch.zeros(9, dtype=torch.float64), (0.5 * v).exp()).to_event(1))

    posterior = run(su.infer.WALNUTS, model, num_samples=25_000)
    check_uniform(stats.norm.cdf(posterior["v"].numpy() / 3.0))
    u = posterior["x"].numpy() / np.exp(0.5 * posterior["v"].numpy())[..., None]
    check_uniform(stats.norm.cdf(u[..., 0]))
    assert posterior.stats["diverging"].mean() < 0.001
    with pytest.raises(AssertionError):  # which the same check finds in as many draws of NUTS
        check_uniform(stats.norm.cdf(run(su.infer.NUTS, model, num_samples=25_000)["v"].numpy() / 3.0))
