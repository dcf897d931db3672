"""`do` intervenes: what comes after sees the value, what came before does not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import ObservationError, UnusedSiteWarning

P = su.poutine
normal = torch.distributions.Normal


def model():
    z = su.sample("z", dist.Normal(0.0, 2.0))
    x = su.sample("x", dist.Normal(z, 1.0))
    su.sample("y", dist.Normal(x, 0.5), obs=torch.tensor(1.0))
    return x


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3, width=32))
def test_outside_the_site_is_drawn_and_scored_as_before(v):
    tr = P.trace(P.do(model, data={"x": torch.tensor(v)})).get_trace()
    assert tr.result == v
    assert tr["x"].value != v
    expected = (
        normal(0.0, 2.0).log_prob(tr["z"].value)
        + normal(tr["z"].value, 1.0).log_prob(tr["x"].value)
        + normal(v, 0.5).log_prob(torch.tensor(1.0))
    )
    assert torch.allclose(tr.log_prob_sum(), expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3, width=32))
def test_inside_the_value_has_no_density(v):
    with P.do(data={"x": torch.tensor(v)}), P.trace() as t:
        model()
    assert t.trace["x"].type == "deterministic"
    expected = normal(0.0, 2.0).log_prob(t.trace["z"].value) + normal(v, 0.5).log_prob(torch.tensor(1.0))
    assert torch.allclose(t.trace.log_prob_sum(), expected, atol=1e-5)


def test_an_intervention_says_nothing_about_causes_and_conditioning_does():
    def posterior_gradient(verb):
        density = su.infer.LogDensity(verb(model, data={"x": torch.tensor(2.0)}))
        q = torch.zeros(density.dim, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(density(q), q)
        return density.latents[0].name, float(gradient[0])

    assert posterior_gradient(P.condition) == ("z", 2.0)
    with pytest.warns(UnusedSiteWarning, match="'x'"):
        assert posterior_gradient(P.do) == ("z", 0.0)


def test_a_value_of_another_shape_is_refused():
    with pytest.raises(ObservationError, match=r"given to site 'x' .* has shape \(2, 2\)|batch shape"):
        P.do(lambda: su.sample("x", dist.Normal(torch.zeros(3), 1.0)), data={"x": torch.zeros(2, 2)})()


def test_parameters_take_no_intervention():
    with pytest.warns(
        UnusedSiteWarning, match="do: the value for 's' was not used: .*is a parameter here. Put do outside lift"
    ):
        P.do(lambda: su.param("s", torch.tensor(1.0)), data={"s": torch.tensor(1.0)})()
