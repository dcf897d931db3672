"""A learnt centring: a parameter of each element, lifted, trained and optimised like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import HeldParameterWarning
from sursum.infer.reparam import LocScaleReparam

double = lambda value: torch.tensor(value, dtype=torch.float64)
LEARNT = {"x": LocScaleReparam(None)}


def model(noise=0.7, scale=2.0):
    x = su.sample("x", dist.Normal(double(1.0), double(scale)))
    su.sample("y", dist.Normal(x, noise), obs=double(3.0))


def centring(shapes):
    found = su.trace(su.reparam(shapes, LEARNT)).get_trace()
    return found["x_centered"]


class TestItsShape:
    def test_one_for_each_element(self):
        site = centring(lambda: su.sample("x", dist.Normal(torch.zeros(4, 3), 1.0).to_event(1)))
        assert site.type == "param"
        assert torch.equal(site.value, torch.full((4, 3), 0.5))

    def test_in_a_plate_it_is_local_and_subsampled(self):
        def plated():
            with su.plate("groups", 6, subsample=torch.tensor([1, 4])):
                return su.sample("x", dist.Normal(torch.zeros(2, 3), 2.0).to_event(1))

        with su.ParamStore() as store:
            assert su.reparam(plated, LEARNT)().shape == (2, 3)
        assert store["x_centered"].shape == (6, 3)

    def test_lifted_in_a_plate(self):
        def plated():
            with su.plate("groups", 6):
                return su.sample("x", dist.Normal(torch.zeros(6), 2.0))

        found = su.trace(su.lift(su.reparam(plated, LEARNT), {"x_centered": dist.Beta(2.0, 2.0)})).get_trace()
        assert found["x_centered"].type == "sample"
        assert found["x_centered"].fn.batch_shape == (6,)
        assert [frame.name for frame in found["x_centered"].plates] == ["groups"]
        assert torch.allclose(found["x_decentered"].fn.scale, 2.0 ** found["x_centered"].value)

    def test_beside_a_dimension_of_no_plate_it_is_global(self):
        def plated():
            with su.plate("groups", 6):
                return su.sample("x", dist.Normal(torch.zeros(3, 6), 2.0))

        assert centring(plated).value.shape == (3, 6)


def test_the_closed_forms_at_a_given_centring():
    at = su.substitute(su.reparam(model, LEARNT), data={"x_centered": double(0.25), "x_decentered": double(0.9)})
    found = su.trace(at).get_trace()
    np.testing.assert_allclose(float(found["x_decentered"].fn.loc), 0.25)
    np.testing.assert_allclose(float(found["x_decentered"].fn.scale), 2.0**0.25)
    np.testing.assert_allclose(float(found["x"].value), 1.0 + 2.0**0.75 * (0.9 - 0.25))


def test_lifted_under_nuts_its_posterior_is_its_prior_and_that_of_x_is_unchanged():
    lifted = su.lift(su.reparam(model, LEARNT), {"x_centered": dist.Beta(double(2.0), double(2.0))})
    nuts = su.infer.NUTS(lifted, target_accept=0.9)
    posterior = su.infer.MCMC(nuts, num_warmup=500, num_samples=1500, num_chains=2, seed=0, progress=False).run()
    precision = 1 / 4 + 1 / 0.49
    exact = {"x_centered": (0.5, 0.05**0.5), "x": ((1.0 / 4 + 3.0 / 0.49) / precision, precision**-0.5)}
    table = posterior.summary()
    for name, (mean, sd) in exact.items():
        ess = min(float(table[name]["ess_bulk"]), float(table[name]["ess_tail"]))
        assert abs(float(table[name]["mean"]) - mean) < 4 * sd / ess**0.5, name
        assert abs(float(table[name]["sd"]) / sd - 1) < 4 / ess**0.5, name


def test_lifted_under_fit():
    """log p = log p(x, y) - c log σ + log Beta(c | 2, 2) + …: x at its own mode, c where 1/c - 1/(1 - c) = log σ."""
    found = su.infer.Fit(su.lift(su.reparam(model, LEARNT), {"x_centered": dist.Beta(double(2.0), double(2.0))})).run()
    np.testing.assert_allclose(float(found["x"]), (1.0 / 4 + 3.0 / 0.49) / (1 / 4 + 1 / 0.49), rtol=1e-6)
    c = float(found["x_centered"])
    np.testing.assert_allclose(1 / c - 1 / (1 - c), np.log(2.0), rtol=1e-6)


@pytest.mark.parametrize(("noise", "higher"), [(0.3, True), (5.0, False)])
def test_svi_centres_what_the_data_tell_and_decentres_what_they_do_not(noise, higher):
    """Under one normal for both coordinates, with an unknown scale: many data centre, few decentre."""

    def groups():
        scale = su.sample("scale", dist.LogNormal(double(0.0), 1.0))
        with su.plate("groups", 4):
            x = su.sample("x", dist.Normal(double(0.0), scale))
            su.sample("y", dist.Normal(x, noise), obs=double([0.5, -1.0, 1.5, -0.5]))

    program = su.reparam(groups, LEARNT)
    svi = su.infer.SVI(program, su.infer.autoguide.AutoNormal(program), su.optim.Adam({"lr": 0.1}), seed=0, progress=False)
    svi.run(250)
    centred = svi.params["x_centered"].detach()
    assert centred.shape == (4,)
    assert float(centred.mean()) > 0.6 if higher else float(centred.mean()) < 0.45


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_lifted_under_svi():
    lifted = su.lift(su.reparam(model, LEARNT), {"x_centered": dist.Beta(double(2.0), double(2.0))})
    svi = su.infer.SVI(lifted, su.infer.autoguide.AutoNormal(lifted), su.optim.Adam({"lr": 0.05}), seed=0, progress=False)
    svi.run(200)
    posterior = svi.sample(300)
    assert 0.2 < float(posterior["x_centered"].mean()) < 0.8
    assert abs(float(posterior["x"].mean()) - 2.78) < 0.5


def test_it_is_held_and_said_to_be_where_it_is_not_lifted():
    with pytest.warns(HeldParameterWarning, match="'x_centered' is not lifted"):
        su.infer.LogDensity(su.reparam(model, LEARNT))
