"""`logp`: log densities of tensors as programs, for every method, against Gaussians and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import CallError, SiteError

PRECISION = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
COVARIANCE = np.linalg.inv(PRECISION.numpy())
MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)


def gauss(x: Tensor, mean: Tensor) -> Tensor:
    return -0.5 * (x - mean) @ PRECISION @ (x - mean)


PROGRAM = su.logp(gauss, torch.zeros(2, dtype=torch.float64))


def test_its_density_is_the_function() -> None:
    density = su.compile(PROGRAM, MEAN)
    assert density.engine == "native"
    value, gradient = density.value_and_grad(np.array([0.3, 1 / 3]))
    x = torch.tensor([0.3, 1 / 3], dtype=torch.float64) - MEAN
    assert value == pytest.approx(float(-0.5 * x @ PRECISION @ x), rel=1e-14)
    np.testing.assert_allclose(gradient, (-PRECISION @ x).numpy(), rtol=1e-14)


def test_it_is_sampled() -> None:
    posterior = su.infer.MCMC(su.infer.NUTS(PROGRAM), num_warmup=300, num_samples=1000, seed=0, progress=False).run(MEAN)
    x = posterior["x"].reshape(-1, 2).numpy()
    # 4,000 draws, of at least 1,000 effective ones: four standard errors.
    np.testing.assert_allclose(x.mean(0), MEAN, atol=4 * math.sqrt(COVARIANCE.max() / 1000))
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=4 * COVARIANCE.max() * math.sqrt(2 / 1000))


def test_fit_laplace_and_pathfinder_find_the_gaussian() -> None:
    found = su.infer.Fit(PROGRAM).run(MEAN)
    np.testing.assert_allclose(found["x"], MEAN, atol=1e-6)
    for method in (su.infer.Laplace(PROGRAM, num_samples=2000, seed=0), su.infer.Pathfinder(PROGRAM, num_samples=2000, seed=0)):
        x = method.run(MEAN)["x"].reshape(-1, 2).numpy()
        np.testing.assert_allclose(x.mean(0), MEAN, atol=4 * math.sqrt(COVARIANCE.max() / 1000))
        np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=5 * COVARIANCE.max() * math.sqrt(2 / 1000))


def test_a_guide_is_fitted() -> None:
    guide = su.infer.autoguide.AutoMultivariateNormal(PROGRAM)
    svi = su.infer.SVI(PROGRAM, guide, su.optim.ClippedAdam({"lr": 0.05, "lrd": 0.998}), seed=0)
    svi.run(1500, MEAN)
    x = svi.sample(2000)["x"].reshape(-1, 2).numpy()
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.1)
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.15)


def by_name(v: dict[str, Tensor]) -> Tensor:
    return dist.Gamma(3.0, 2.0).log_prob(v["rate"]) + dist.Dirichlet(torch.ones(3)).log_prob(v["share"]) - v["z"].square().sum()


NAMED = su.logp(
    by_name,
    {"rate": 1.0, "share": np.full(3, 1 / 3), "z": torch.zeros(2, 2)},
    {"rate": constraints.positive, "share": constraints.simplex},
)


def test_several_tensors_with_their_supports() -> None:
    density = su.compile(NAMED)
    assert density.dim == 1 + 2 + 4

    def model() -> None:
        su.sample("rate", dist.Gamma(3.0, 2.0))
        su.sample("share", dist.Dirichlet(torch.ones(3)))
        su.sample("z", dist.Normal(0.0, math.sqrt(0.5)).expand([2, 2]).to_event(2))

    written = su.compile(model)
    for seed in range(3):
        q = np.random.default_rng(seed).normal(size=7)
        value, gradient = density.value_and_grad(q)
        expected, slope = written.value_and_grad(q)
        assert value == pytest.approx(expected + 4 * (0.5 * math.log(2 * math.pi) + math.log(math.sqrt(0.5))), rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-12)
        assert {name: tuple(x.shape) for name, x in density.unravel(q).items()} == {"rate": (), "share": (3,), "z": (2, 2)}


def test_chains_start_where_it_says() -> None:
    density = su.compile(su.logp(lambda x: -x.square().sum(), [30.0, -40.0]))
    np.testing.assert_allclose(density.density.start(np.random.default_rng(0)), [30.0, -40.0], atol=0.1)


def test_it_is_a_lifted_program() -> None:
    trace = su.poutine.trace(su.poutine.condition(PROGRAM, {"x": torch.zeros(2).double()})).get_trace(MEAN)
    assert float(trace.log_prob_sum()) == pytest.approx(float(gauss(torch.zeros(2).double(), MEAN)))
    assert "logp(gauss)" in repr(su.compile(PROGRAM, MEAN))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: su.logp(3, [0.0]), "takes a function"),
        (lambda: su.logp(gauss, {}), "has no sites"),
        (lambda: su.logp(gauss, "zero"), "starts from"),
        (lambda: su.logp(gauss, torch.zeros(0)), "at least one"),
        (lambda: su.logp(gauss, -1.0, constraints.positive), "outside its support"),
        (lambda: su.logp(gauss, {"a": 1.0}, {"b": constraints.positive}), "no site of that name: its sites are 'a'"),
        (lambda: su.logp(gauss, 1.0, "positive"), "must be one of"),
        (lambda: su.compile(su.logp(lambda x: x.square(), torch.ones(3))), r"a tensor of shape \(3,\).*sum over the terms"),
        (lambda: su.compile(su.logp(lambda x: 1.0, torch.ones(3))), "A tensor of one element"),
    ],
)
def test_what_is_wrong_is_said(make: Any, words: str) -> None:
    with pytest.raises(SiteError, match=words):
        make()


def test_a_function_that_is_given_for_a_program_is_told_of_it() -> None:
    with pytest.raises(CallError, match=r"su\.logp\(function, init\)"):
        su.infer.MCMC(su.infer.NUTS(lambda theta: -theta.square().sum()), progress=False).run()


def test_single_precision_starts_a_double_density() -> None:
    value, _ = su.compile(su.logp(gauss, torch.zeros(2)), MEAN).value_and_grad(np.array([1 / 3, 0.1]))
    x = torch.tensor([1 / 3, 0.1], dtype=torch.float64) - MEAN
    assert value == pytest.approx(float(-0.5 * x @ PRECISION @ x), rel=1e-14)
