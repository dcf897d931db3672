"""Two posteriors of posteriordb that sum states out by hand, written with the states as sites: the same density."""

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
    """`hmm_example` with its states, the first of which is either with the same probability."""
    transition = torch.stack([su.param(f"theta{k}", y.new_full((2,), 0.5), constraint=constraints.simplex) for k in (1, 2)])
    low = su.param("low", y.new_tensor(3.0), constraint=constraints.positive)
    high = su.param("high", low + 7.0, constraint=constraints.greater_than(low))
    mu = su.deterministic("mu", torch.stack([low, high]))
    su.factor("penalty", dist.Normal(y.new_tensor([3.0, 10.0]), 1.0).log_prob(mu).sum())
    first = su.sample("z_first", dist.Categorical(logits=y.new_zeros(2)))
    su.sample("y_first", dist.Normal(mu[first], 1.0), obs=y[0])

    def step(z: Tensor, now: Tensor) -> tuple[Tensor, None]:
        z = su.sample("z", dist.Categorical(transition[z]))
        su.sample("y", dist.Normal(mu[z], 1.0), obs=now)
        return z, None

    su.scan(step, first, y[1:])


def mixture(y: Tensor) -> None:
    """`low_dim_gauss_mix` with the component of each value."""
    mu = su.param("mu", y.new_tensor([-1.0, 1.0]), constraint=constraints.ordered)
    sigma = su.param("sigma", y.new_ones(2), constraint=constraints.positive)
    theta = su.param("theta", y.new_tensor(0.5), constraint=constraints.unit_interval)
    su.factor("penalty", dist.Normal(0.0, 2.0).log_prob(mu).sum())
    with su.plate("value", len(y)):
        k = su.sample("k", dist.Categorical(torch.stack([theta, 1 - theta])))
        su.sample("y", dist.Normal(mu[k], sigma[k]), obs=y)


# The sum by hand does not have the first state's probability, 1/2.
PROGRAMS = {
    "hmm_example-hmm_example": (series.CASES, su.lift(hidden_markov, su.priors.flat), -math.log(2.0)),
    "low_dim_gauss_mix-low_dim_gauss_mix": (latent.CASES, su.lift(mixture, latent.MIXTURE_PRIORS), 0.0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_are_those_of_the_program_summed_out_by_hand(name: str) -> None:
    cases, lifted, constant = PROGRAMS[name]
    case = next(case for case in cases if case.name == name)
    args = case.called_with()
    by_hand, by_sites = su.compile(case.lifted, *args), su.compile(lifted, *args)
    assert by_hand.engine == by_sites.engine == "native"
    assert by_sites.density.coordinate_names() == by_hand.density.coordinate_names()
    for seed in range(3):
        q = 0.5 * np.random.default_rng(seed).normal(size=by_hand.density.dim)
        (wanted, slopes), (found, mine) = by_hand.value_and_grad(q), by_sites.value_and_grad(q)
        assert found == pytest.approx(wanted + constant, rel=1e-12)
        np.testing.assert_allclose(mine, slopes, rtol=1e-10, atol=1e-8)
