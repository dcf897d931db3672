"""`substitute` fixes latent sites and parameters."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import ObservationError, UnusedSiteWarning

P = su.poutine


def model():
    s = su.param("s", torch.tensor(2.0))
    z = su.sample("z", dist.Normal(0.0, s))
    su.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
    return z


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 5))
def test_values_and_densities(z, s):
    tr = P.trace(P.substitute(model, data={"z": torch.tensor(z), "s": torch.tensor(s)})).get_trace()
    assert tr["s"].type == "param"
    assert not tr["z"].is_observed
    normal = torch.distributions.Normal
    expected = normal(0.0, s).log_prob(torch.tensor(z)) + normal(z, 1.0).log_prob(torch.tensor(1.0))
    assert torch.allclose(tr.log_prob_sum(), expected, atol=1e-5)


def test_the_gradient_reaches_what_was_substituted():
    z = torch.tensor(0.5, requires_grad=True)
    P.trace(P.substitute(model, data={"z": z})).get_trace().log_prob_sum().backward()
    assert torch.allclose(z.grad, torch.tensor(-0.5 / 4 + (1 - 0.5)))


def test_substituting_a_draw_is_a_trace_of_the_same_density():
    first = P.trace(model).get_trace()
    again = P.trace(P.substitute(model, data=first)).get_trace()
    assert torch.equal(first.log_prob_sum(), again.log_prob_sum())


def test_an_observed_site_keeps_its_value_and_the_innermost_substitute_is_overruled():
    assert P.trace(P.substitute(model, data={"y": torch.tensor(5.0)})).get_trace()["y"].value == 1
    inner = P.substitute(model, data={"z": torch.tensor(1.0)})
    assert P.substitute(inner, data={"z": torch.tensor(2.0)})() == 2


@pytest.mark.parametrize(
    ("fn", "value", "message"),
    [
        (dist.Normal(torch.zeros(3), 1.0), torch.zeros(3, 1), r"has shape \(3, 1\)"),
        (dist.Exponential(1.0), torch.tensor(-1.0), "is outside the support"),
        (dist.Normal(0.0, 1.0), torch.tensor(float("nan")), "is not finite"),
        (dist.Normal(0.0, 1.0), [1.0], "is a list"),
    ],
)
def test_values_that_a_site_cannot_have_are_refused(fn, value, message):
    with pytest.raises(ObservationError, match=f"given to site 'z' .*{message}"):
        P.substitute(lambda: su.sample("z", fn), data={"z": value})()


def test_names_that_match_nothing_are_warned_of():
    with pytest.warns(UnusedSiteWarning, match="substitute: the value for 'zed' was not used: no site of that name"):
        P.substitute(model, data={"zed": torch.tensor(1.0)})()
