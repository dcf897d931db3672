"""Chains that start at values by site name: from mappings, fits, stores and posteriors, through every handler."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DensityError, SamplingError
from sursum.infer.reparam import LocScaleReparam
from sursum.mcmc.chain_starts import find_chain_starts
from sursum.mcmc.seeds import chain_seed

EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
double = lambda value: torch.tensor(value, dtype=torch.float64)


def schools():
    mu = su.sample("mu", dist.Normal(double(0.0), 5.0))
    tau = su.sample("tau", dist.HalfNormal(double(5.0)))
    with su.plate("school", 8):
        theta = su.sample("theta", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(theta, 12.0), obs=EFFECT)


decentred = su.reparam(schools, {"theta": LocScaleReparam(0.0)})


def starts(model, init, num_chains=2, seed=0):
    """Where the chains of a run start, one dictionary of the program's own sites for each."""
    compiled = su.compile(model)
    points = find_chain_starts(compiled, init, [chain_seed(seed, k).start for k in range(num_chains)])
    return [{k: v[0] for k, v in compiled.expand(point[None]).items()} for point in points]


VALUES = {"mu": 3.0, "tau": 2.0, "theta": np.linspace(-1.0, 6.0, 8)}


def test_a_mapping_is_where_all_chains_start():
    for start in starts(schools, VALUES):
        assert float(start["mu"]) == 3.0
        np.testing.assert_allclose(float(start["tau"]), 2.0, rtol=1e-15)
        np.testing.assert_array_equal(start["theta"], VALUES["theta"])


def test_one_for_each_chain():
    first, second = starts(schools, [VALUES, {**VALUES, "mu": -1.0}])
    assert (float(first["mu"]), float(second["mu"])) == (3.0, -1.0)


def test_sites_that_are_not_named_start_as_usual():
    first, second = starts(schools, {"mu": 3.0})
    assert float(first["mu"]) == float(second["mu"]) == 3.0
    assert float(first["tau"]) != float(second["tau"])
    assert float(first["tau"].log().abs()) <= 2.0
    again, _ = starts(schools, {"mu": 3.0})
    assert torch.equal(first["theta"], again["theta"])


def test_a_reparameterised_site_starts_where_its_value_says():
    (start,) = starts(decentred, VALUES, num_chains=1)
    np.testing.assert_allclose(start["theta"], VALUES["theta"], rtol=1e-12)


def test_a_fit_of_another_parameterisation():
    fit = su.infer.Fit(decentred, jacobian=True).run()
    half = su.reparam(schools, {"theta": LocScaleReparam(0.5)})
    for start in (starts(schools, fit)[0], starts(decentred, fit)[1], starts(half, fit)[0]):
        for name in ("mu", "tau", "theta"):
            # Where the gradient is exactly 0, at the mode, chains are moved by a thousandth.
            np.testing.assert_allclose(start[name], fit[name], atol=2e-2)


def test_a_fit_of_parameters_that_are_then_lifted():
    def model():
        mu = su.param("mu", double(0.0))
        sigma = su.param("sigma", double(1.0), constraint=constraints.positive)
        with su.plate("data", 8):
            su.sample("y", dist.Normal(mu, sigma), obs=EFFECT)

    fit = su.infer.Fit(model).run()
    lifted = su.lift(model, {"mu": dist.Normal(0.0, 10.0), "sigma": dist.HalfNormal(10.0)})
    for init in (fit, fit.params):
        start = starts(lifted, init)[1]
        np.testing.assert_allclose([float(start["mu"]), float(start["sigma"])], [fit["mu"], fit["sigma"]], rtol=1e-7)
    # Without init, but with the fitted program, it starts around there.
    (around,) = starts(su.lift(fit.program, {"**": dist.Normal(0.0, 10.0)} | {"sigma": dist.HalfNormal(10.0)}), None, 1)
    assert 0 < abs(float(around["mu"] - fit["mu"])) <= 0.1


def test_each_chain_takes_a_draw_of_a_posterior():
    draws = {"mu": torch.randn(1, 50), "tau": torch.rand(1, 50) + 0.1, "theta": torch.randn(1, 50, 8)}
    posterior = su.Posterior(draws, {}, np.zeros((1, 50, 10)))
    found = starts(schools, posterior, num_chains=4)
    rows = []
    for start in found:
        (row,) = np.flatnonzero(np.isclose(draws["mu"][0].numpy(), float(start["mu"])))
        np.testing.assert_allclose(start["theta"], draws["theta"][0, row], rtol=1e-6)
        rows.append(row)
    assert len(set(rows)) > 1
    # Chain k is the same whatever the number of chains.
    assert torch.equal(starts(schools, posterior, num_chains=2)[1]["theta"], found[1]["theta"])


def test_an_svi_gives_each_chain_a_draw():
    svi = su.infer.SVI(decentred, su.infer.autoguide.AutoNormal(decentred), su.optim.Adam({"lr": 0.05}), seed=0)
    svi.run(5)
    draws = svi.sample(2)
    for k, start in enumerate(starts(schools, svi)):
        np.testing.assert_allclose(start["theta"], draws["theta"][0, k], rtol=1e-6)
        np.testing.assert_allclose(start["tau"], draws["tau"][0, k], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_starts_another():
    settings = {"num_warmup": 150, "num_samples": 60, "num_chains": 2, "progress": False}
    nuts = su.infer.NUTS(decentred)
    first = su.infer.MCMC(nuts, seed=0, **settings).run()
    again = [su.infer.MCMC(nuts, seed=1, init=first, **settings).run() for _ in range(2)]
    assert np.array_equal(again[0].unconstrained, again[1].unconstrained)


def test_a_mode_where_the_gradient_is_exactly_zero_is_a_start():
    model = lambda: su.sample("x", dist.Normal(double([0.0, 1.0]), 1.0).to_event(1))
    start = starts(model, {"x": [0.0, 1.5]})[0]["x"]
    assert start.tolist() == [0.0, 1.5]


class TestBadInput:
    def test_outside_the_support(self):
        with pytest.raises(DensityError, match=r"given for site 'tau' .* is -1, outside its support .*Give one inside"):
            starts(schools, {"tau": -1.0})
        with pytest.raises(DensityError, match=r"given for site 'tau' .* is 0, (outside|on the boundary of) its support"):
            starts(schools, {"tau": 0.0})

    def test_another_shape(self):
        with pytest.raises(DensityError, match=r"given for site 'theta' .* has shape \(3,\), and the site has \(8,\)"):
            starts(schools, {"theta": [1.0, 2.0, 3.0]})

    def test_no_such_site(self):
        with pytest.raises(
            DensityError, match=r"`init` has a value for 'thata', which is not a site of the program\. Did you mean 'theta'"
        ):
            starts(schools, {"thata": 1.0})

    def test_not_finite(self):
        def model():
            x = su.sample("x", dist.Normal(double(0.0), 1.0))
            su.factor("wall", torch.where(x < 5.0, x, -torch.inf))

        with pytest.raises(DensityError, match=r"(?s)no chain could start at `init`.*not finite there, by 'wall'.*Give values"):
            starts(model, {"x": 6.0})

    def test_the_wrong_number_of_chains(self):
        with pytest.raises(SamplingError, match="`init` has values for 3 chains, but must have them for 2"):
            starts(schools, [VALUES] * 3)

    def test_something_else(self):
        with pytest.raises(SamplingError, match="`init` is str, but must be values by site name"):
            starts(schools, "prior")

    def test_a_gradient_that_is_zero_around(self):
        def model():
            su.sample("x", dist.Normal(double(0.0), 1.0))
            su.param("flat", double(0.0))

        lifted = su.lift(model, su.priors.flat)
        with pytest.raises(DensityError, match="gradient of the log density by site 'flat' is exactly zero there and around"):
            starts(lifted, {"x": 1.0, "flat": 0.0})
