"""Two posteriors of posteriordb, with the states as sites and summed out by hand or by a family: the same density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from benchmarks.posteriordb import latent, series
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints


def hidden_markov(y: Tensor) -> None:
    """`hmm_example` with its path summed out by hand, the forward algorithm."""
    transition = torch.stack([su.param(f"theta{k}", y.new_full((2,), 0.5), constraint=constraints.simplex) for k in (1, 2)])
    mu = su.param("mu", y.new_tensor([3.0, 10.0]), constraint=constraints.positive_ordered)
    emission, steps = dist.Normal(mu, 1.0).log_prob(y[:, None]), transition.log()

    def step(ahead: Tensor, now: Tensor) -> tuple[Tensor, None]:
        return now + (ahead[:, None] + steps).logsumexp(0), None

    ahead, _ = su.scan(step, emission[0], emission[1:])
    su.factor("y", ahead.logsumexp(0))


def mixture(y: Tensor) -> None:
    """`low_dim_gauss_mix` with the component of each value."""
    mu = su.param("mu", y.new_tensor([-1.0, 1.0]), constraint=constraints.ordered)
    sigma = su.param("sigma", y.new_ones(2), constraint=constraints.positive)
    theta = su.param("theta", y.new_tensor(0.5), constraint=constraints.unit_interval)
    with su.plate("value", len(y)):
        k = su.sample("k", dist.Categorical(torch.stack([theta, 1 - theta])))
        su.sample("y", dist.Normal(mu[k], sigma[k]), obs=y)


# The sum by hand does not have the first state's probability, 1/2.
PROGRAMS = {
    "hmm_example-hmm_example": (series.CASES, su.lift(hidden_markov, {"mu": series.near, "*": su.priors.flat}), math.log(2.0)),
    "low_dim_gauss_mix-low_dim_gauss_mix": (latent.CASES, su.lift(mixture, latent.MIXTURE_PRIORS), 0.0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_are_those_of_the_program_written_otherwise(name: str) -> None:
    cases, lifted, constant = PROGRAMS[name]
    case = next(case for case in cases if case.name == name)
    args = case.called_with()
    one, other = su.compile(case.lifted, *args), su.compile(lifted, *args)
    assert one.engine == other.engine == "native"
    assert other.density.coordinate_names() == one.density.coordinate_names()
    for seed in range(3):
        q = 0.5 * np.random.default_rng(seed).normal(size=one.density.dim)
        (wanted, slopes), (found, mine) = one.value_and_grad(q), other.value_and_grad(q)
        assert found == pytest.approx(wanted + constant, rel=1e-12)
        np.testing.assert_allclose(mine, slopes, rtol=1e-10, atol=1e-8)
