"""The log prior at draws: against torch's own densities, without what is summed out."""

from __future__ import annotations

import pytest
import torch
import torch.distributions as td
from tests.support.line import LIFTED, X, by_hand

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.infer import log_prior


def test_it_is_the_density_of_each_lifted_parameter_and_latent_site() -> None:
    generator = torch.Generator().manual_seed(0)
    posterior = by_hand(slope=torch.randn(2, 30, generator=generator), sigma=torch.rand(2, 30, generator=generator) + 0.5)
    found = log_prior(LIFTED, posterior, X, 2.0 * X)
    trace = su.poutine.trace(su.handlers.condition(LIFTED, {n: posterior[n][0, 3] for n in ("slope", "sigma")})).get_trace(X, X)
    assert set(found) == {"slope", "sigma"}
    for name, value in found.items():
        assert value.shape == (2, 30)
        assert value.dtype == torch.float64
        expected = trace[name].fn.log_prob(posterior[name][0, 3].double())
        torch.testing.assert_close(value[0, 3], expected.double(), rtol=1e-6, atol=1e-6)


def test_plates_are_elements_and_scales_and_subsamples_are_left_out() -> None:
    def program() -> None:
        with su.plate("group", 4, subsample_size=2), su.handlers.scale(scale=3.0):
            su.sample("theta", dist.Normal(0.0, 2.0))

    draws = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    found = log_prior(program, {"theta": draws})
    torch.testing.assert_close(found["theta"], td.Normal(0.0, 2.0).log_prob(draws))


def test_discrete_sites_that_are_summed_out_have_none() -> None:
    def mixture(y: torch.Tensor) -> None:
        weight = su.sample("weight", dist.Beta(2.0, 2.0))
        with su.plate("data", len(y)):
            z = su.sample("z", dist.Bernoulli(weight))
            su.sample("y", dist.Normal(2.0 * z, 1.0), obs=y)

    weights = torch.tensor([0.3, 0.6], dtype=torch.float64)
    found = log_prior(mixture, {"weight": weights}, torch.zeros(3))
    assert list(found) == ["weight"]
    torch.testing.assert_close(found["weight"], td.Beta(2.0, 2.0).log_prob(weights))


def test_a_program_without_latent_sites_says_so() -> None:
    with pytest.raises(PredictionError, match="no latent site"):
        log_prior(lambda: su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0)), {"x": torch.zeros(2)})
