"""Neural transport: the density in a guide's coordinates, for several sites with supports of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import GuideError, SiteError
from sursum.infer.reparam import NeuTraReparam
from sursum.vi.autoguide.flow import inverse_autoregressive, zuko_flows

double = lambda value: torch.tensor(value, dtype=torch.float64)
autoguide = su.infer.autoguide


def model():
    mu = su.sample("mu", dist.Normal(double(0.0), 5.0))
    tau = su.sample("tau", dist.HalfNormal(double(5.0)))
    with su.plate("school", 3):
        theta = su.sample("theta", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(theta, 10.0), obs=double([28.0, 8.0, -3.0]))


def fitted(kind=autoguide.AutoMultivariateNormal, steps=0):
    guide = kind(model)
    svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.05}), seed=0, progress=False)
    svi.run(max(steps, 1))
    rng = torch.Generator().manual_seed(1)
    for leaf in svi.params.leaves() if not steps else ():
        leaf.data += 0.3 * torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype)
    return guide, svi.params


@pytest.mark.parametrize("kind", [autoguide.AutoMultivariateNormal, autoguide.AutoDiagonalNormal])
def test_the_density_is_that_of_the_program_by_change_of_variables(kind):
    guide, params = fitted(kind)
    neutra = NeuTraReparam(guide, params)
    density = su.infer.LogDensity(su.reparam(model, {"**": neutra}))
    original = su.infer.LogDensity(model)
    assert original.coordinate_names() == ["mu", "tau", "theta[0]", "theta[1]", "theta[2]"]
    assert density.coordinate_names() == [f"neutra_base[{i}]" for i in range(5)]
    for seed in range(3):
        noise = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        slopes = torch.autograd.functional.jacobian(neutra.transport.onto, noise)
        with torch.no_grad():
            u = neutra.transport.onto(noise)
            np.testing.assert_allclose(float(density(noise)), float(original(u) + slopes.slogdet()[1]), rtol=1e-10)
            np.testing.assert_allclose(density.transform(noise)["theta"], original.transform(u)["theta"], rtol=1e-12)


def spline(features):
    """A flow whose draws go through its transforms one coordinate after another."""
    return zuko_flows().NSF(features, transforms=1, hidden_features=(8,), bins=4).double()


def default(features):
    return inverse_autoregressive(features).double()


@pytest.mark.parametrize("flow", [default, pytest.param(spline, marks=pytest.mark.slow)])
def test_a_flow_is_such_a_map(flow):
    guide, params = fitted(lambda program: autoguide.AutoNormalizingFlow(program, flow=flow), steps=20)
    neutra = NeuTraReparam(guide, params)
    density = su.infer.LogDensity(su.reparam(model, {"**": neutra}))
    original = su.infer.LogDensity(model)
    with params, torch.no_grad():
        drawn = guide.posterior()
    for seed in range(3):
        noise = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        slopes = torch.autograd.functional.jacobian(neutra.transport.onto, noise)
        with torch.no_grad():
            u = neutra.transport.onto(noise)
            found = float(density(noise))
            np.testing.assert_allclose(found, float(original(u) + slopes.slogdet()[1]), rtol=1e-6)
            np.testing.assert_allclose(density.transform(noise)["theta"], original.transform(u)["theta"], rtol=1e-6)
            # A standard normal's density, moved, is the guide's own.
            moved = dist.Normal(0.0, 1.0).log_prob(noise).sum() - slopes.slogdet()[1]
            np.testing.assert_allclose(float(moved), float(drawn.log_prob(u)), rtol=1e-6)


def test_later_training_moves_no_coordinates():
    guide = autoguide.AutoMultivariateNormal(model)
    svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.05}), seed=0, progress=False)
    svi.run(10)
    onto = NeuTraReparam(guide, svi.params).transport.onto
    noise = torch.ones(5, dtype=torch.float64)
    before = onto(noise)
    svi.run(10)
    assert torch.equal(onto(noise), before)
    assert not before.requires_grad


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_nuts_runs_in_the_coordinates_of_a_flow():
    guide, params = fitted(autoguide.AutoNormalizingFlow, steps=100)
    program = su.reparam(model, {"**": NeuTraReparam(guide, params)})
    posterior = su.infer.MCMC(su.infer.NUTS(program), num_warmup=200, num_samples=200, num_chains=1, seed=0).run()
    assert posterior["theta"].shape == (1, 200, 3)
    assert bool(torch.isfinite(posterior["theta"]).all())


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_of_nuts_has_the_programs_sites():
    guide, params = fitted(steps=100)
    program = su.reparam(model, {"**": NeuTraReparam(guide, params)})
    mcmc = su.infer.MCMC(su.infer.NUTS(program, target_accept=0.9), num_warmup=300, num_samples=500, num_chains=2, seed=0)
    posterior = mcmc.run()
    assert posterior["theta"].shape == (2, 500, 3)
    reference = su.infer.MCMC(su.infer.NUTS(model, target_accept=0.95), num_warmup=500, num_samples=2000, num_chains=2, seed=1)
    exact = reference.run()
    ours, theirs = posterior.summary()["mu"], exact.summary()["mu"]
    error = np.hypot(ours["sd"] / ours["ess_bulk"] ** 0.5, theirs["sd"] / theirs["ess_bulk"] ** 0.5)
    assert abs(ours["mean"] - theirs["mean"]) < 4 * error


class TestBadInput:
    def test_a_guide_that_is_no_map(self):
        with pytest.raises(GuideError, match="needs a guide that maps a standard normal .* this is a AutoNormal. AutoDiag"):
            NeuTraReparam(autoguide.AutoNormal(model), su.ParamStore())
        with pytest.raises(GuideError, match="this is a AutoDelta. AutoMultivariateNormal is one"):
            NeuTraReparam(autoguide.AutoDelta(model), su.ParamStore())
        bounded = lambda features: zuko_flows().NCSF(features, transforms=1, hidden_features=(8,))  # a base on circles
        guide, params = fitted(lambda program: autoguide.AutoNormalizingFlow(program, flow=bounded))
        with pytest.raises(GuideError, match="draws of this AutoNormalizingFlow are not a one-to-one map of a standard normal"):
            NeuTraReparam(guide, params)
        guide, params = fitted(autoguide.AutoLowRankMultivariateNormal)
        with pytest.raises(GuideError, match="this AutoLowRankMultivariateNormal are not a one-to-one map"):
            NeuTraReparam(guide, params)

    def test_a_guide_that_is_not_fitted(self):
        with pytest.raises(GuideError, match="AutoMultivariateNormal has not been fitted yet: run SVI"):
            NeuTraReparam(autoguide.AutoMultivariateNormal(model), su.ParamStore())

    def test_only_some_of_the_sites(self):
        neutra = NeuTraReparam(*fitted())
        with pytest.raises(SiteError, match=r"replaced 'mu', 'tau', but its guide also has 'theta'.*Name them all"):
            su.reparam(model, {"mu": neutra, "tau": neutra})()

    def test_another_program(self):
        neutra = NeuTraReparam(*fitted())
        with pytest.raises(SiteError, match="latent site 'other' .* is not in the guide .* which has 'mu', 'tau', 'theta'"):
            su.reparam(lambda: su.sample("other", dist.Normal(0.0, 1.0)), {"**": neutra})()
        with pytest.raises(SiteError, match="latent site 'mu' .* has 2 coordinates, but 1 in the guide"):
            su.reparam(lambda: su.sample("mu", dist.Normal(torch.zeros(2), 1.0)), {"**": neutra})()

    def test_without_reparam(self):
        neutra = NeuTraReparam(*fitted())
        site = su.trace(model).get_trace()["mu"]
        with pytest.raises(SiteError, match="is written by NeuTraReparam through `reparam` only"):
            neutra(site)


def test_a_function_of_sites_may_return_it():
    guide, params = fitted()
    neutra = NeuTraReparam(guide, params)
    ours = su.infer.LogDensity(su.reparam(model, lambda site: neutra))
    noise = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)
    assert float(ours(noise)) == float(su.infer.LogDensity(su.reparam(model, {"**": neutra}))(noise))
    with pytest.raises(SiteError, match="its guide also has"):
        su.infer.LogDensity(su.reparam(model, lambda site: neutra if site.name == "mu" else None))
