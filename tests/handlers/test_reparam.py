"""`reparam` changes coordinates and not the joint distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import SiteError
from sursum.infer.reparam import LocScaleReparam

P = su.poutine
real = st.floats(-2, 2)
FAMILIES = {
    "Normal": lambda m, s: dist.Normal(m, s),
    "StudentT": lambda m, s: dist.StudentT(4.0, m, s),
    "Laplace": lambda m, s: dist.Laplace(m, s),
    "Cauchy": lambda m, s: dist.Cauchy(m, s),
    "Gumbel": lambda m, s: dist.Gumbel(m, s),
}


def density(family, centred, aux, mu, tau):
    """Log joint of a site at the value that `aux` gives, with the log-Jacobian of aux ↦ x."""

    def model():
        x = su.sample("x", FAMILIES[family](torch.as_tensor(mu), torch.as_tensor(tau)))
        su.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))

    tr = P.trace(P.substitute(su.reparam(model, {"x": LocScaleReparam(centred)}), data={"x_decentered": aux})).get_trace()
    (slope,) = torch.autograd.grad(tr["x"].value, aux)
    return tr["x"].value.detach(), tr.log_prob_sum().detach(), slope.abs().log()


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(real, real, st.floats(0.2, 3), st.floats(0, 1))
def test_the_joint_density_is_the_same_by_change_of_variables(family, u, mu, tau, centred):
    aux = torch.tensor(u, dtype=torch.float64, requires_grad=True)
    mu, tau = torch.tensor(mu, dtype=torch.float64), torch.tensor(tau, dtype=torch.float64)
    x, joint, log_slope = density(family, centred, aux, mu, tau)
    expected = FAMILIES[family](mu, tau).log_prob(x) + torch.distributions.Normal(x, 1.0).log_prob(torch.tensor(0.5))
    assert torch.allclose(joint, expected + log_slope)


def test_fully_centred_is_the_site_as_it_was_and_decentred_is_standard():
    def model():
        su.sample("x", dist.Normal(torch.tensor(5.0), torch.tensor(2.0)))

    whole = P.trace(su.reparam(model, {"x": LocScaleReparam(1.0)})).get_trace()
    assert (whole["x_decentered"].fn.loc, whole["x_decentered"].fn.scale) == (5, 2)
    assert whole["x"].value == whole["x_decentered"].value
    standard = P.trace(su.reparam(model, {"x": LocScaleReparam(0.0)})).get_trace()
    assert (standard["x_decentered"].fn.loc, standard["x_decentered"].fn.scale) == (0, 1)
    assert standard["x"].value == 5 + 2 * standard["x_decentered"].value
    assert standard["x"].type == "deterministic"


def test_in_plates_with_events_and_by_pattern():
    def model():
        with su.plate("groups", 4):
            su.sample("g.x", dist.Normal(torch.zeros(3), 2.0).to_event(1))
            su.sample("g.y", dist.Normal(0.0, 1.0), obs=torch.zeros(4))

    tr = P.trace(su.reparam(model, {"g.*": LocScaleReparam(0.3)})).get_trace()
    assert list(tr) == ["g.x_decentered", "g.x", "g.y"]
    assert tr["g.x"].value.shape == (4, 3)
    assert tr["g.x_decentered"].log_prob().shape == (4,)
    assert [f.name for f in tr["g.x"].plates] == ["groups"]


def test_the_log_density_of_a_funnel():
    def model():
        tau = su.sample("tau", dist.LogNormal(0.0, 1.0))
        su.sample("x", dist.Normal(torch.tensor(1.0), tau))

    density = su.infer.LogDensity(su.reparam(model, {"x": LocScaleReparam(0.0)}))
    assert density.coordinate_names() == ["tau", "x_decentered"]
    q = torch.tensor([0.7, -1.2], dtype=torch.float64)
    standard = torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(density(q).double(), standard.log_prob(q).sum(), atol=1e-5)
    assert torch.allclose(density.transform(q)["x"].double(), 1 + q[0].exp() * q[1])


def test_a_lifted_parameter_starts_at_its_value_in_the_new_coordinates():
    model = su.reparam(
        su.lift(lambda: su.param("w", torch.tensor(7.0)), {"w": dist.Normal(1.0, 2.0)}), {"w": LocScaleReparam(0.0)}
    )
    assert P.trace(model).get_trace()["w_decentered"].init == 3


@pytest.mark.parametrize("fn", [dist.Gamma(1.0, 1.0), dist.LogNormal(0.0, 1.0), dist.Exponential(1.0)])
def test_other_families_are_refused(fn):
    with pytest.raises(SiteError, match=r"site 'x' .* has no location-scale form.*this is " + type(fn).__name__):
        su.reparam(lambda: su.sample("x", fn), {"x": LocScaleReparam()})()


def test_observed_sites_are_refused_by_name_and_passed_over_by_pattern():
    def model():
        return su.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))

    with pytest.raises(SiteError, match="'x' .* is observed or has been given a value, and reparam cannot"):
        su.reparam(model, {"x": LocScaleReparam()})()
    assert su.reparam(model, {"*": LocScaleReparam()})() == 1


@pytest.mark.parametrize("centred", [-0.1, 1.1, float("nan")])
def test_centring_lies_between_zero_and_one(centred):
    with pytest.raises(ValueError, match="centered must lie between 0 and 1"):
        LocScaleReparam(centred)
