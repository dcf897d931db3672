"""Which sites are scales of other ones."""

from __future__ import annotations

import torch

import sursum as su
import sursum.distributions as dist


def scales(model) -> dict[str, tuple[str, ...]]:
    return su.infer.LogDensity(model).scales


def test_the_scale_of_a_hierarchy():
    def model():
        mu = su.sample("mu", dist.Normal(0.0, 5.0))
        tau = su.sample("tau", dist.HalfCauchy(5.0))
        with su.plate("school", 3):
            theta = su.sample("theta", dist.Normal(mu, tau))
        nu = su.sample("nu", dist.StudentT(3.0, 0.0, tau * torch.ones(2)).to_event(1))
        su.sample("y", dist.Normal(theta, 1.0).to_event(1), obs=torch.zeros(3))
        su.factor("f", -nu.square().sum())

    assert scales(model) == {"tau": ("theta", "nu")}
    non_centred = su.reparam(model, {name: su.handlers.LocScaleReparam(0.0) for name in ("theta", "nu")})
    assert scales(non_centred) == {}


def test_a_product_of_scales_has_two_and_lifted_parameters_count():
    def model():
        beta = su.param("beta", torch.zeros(4))
        su.sample("y", dist.Normal(beta, 1.0).to_event(1), obs=torch.zeros(4))

    def horseshoe(_):
        return dist.Normal(
            0.0, su.sample("tau", dist.HalfCauchy(1.0)) * su.sample("own", dist.HalfCauchy(torch.ones(4)).to_event(1))
        )

    assert scales(su.lift(model, horseshoe)) == {"tau": ("beta",), "own": ("beta",)}


def test_observations_and_positive_sites_are_not_named():
    def model():
        sigma = su.sample("sigma", dist.HalfNormal(1.0))
        rate = su.sample("rate", dist.LogNormal(0.0, sigma))
        su.sample("y", dist.Normal(rate, sigma), obs=torch.tensor(0.3))

    assert scales(model) == {}
