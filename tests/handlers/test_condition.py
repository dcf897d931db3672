"""`condition` observes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import ObservationError, UnusedSiteWarning

P = su.poutine
real = st.floats(-3, 3, width=32)


def model():
    s = su.param("s", torch.tensor(2.0))
    z = su.sample("z", dist.Normal(0.0, s))
    su.deterministic("d", z)
    su.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
    return z


@settings(max_examples=25, deadline=None)
@given(real, real)
def test_it_is_the_joint_density_at_the_data(z, y):
    tr = P.trace(P.condition(model, data={"z": torch.tensor(z), "y": torch.tensor(y)})).get_trace()
    assert tr.observation_nodes == ["z", "y"]
    expected = torch.distributions.Normal(0.0, 2.0).log_prob(torch.tensor(z)) + torch.distributions.Normal(z, 1.0).log_prob(
        torch.tensor(y)
    )
    assert torch.allclose(tr.log_prob_sum(), expected)
    assert tr.result == z


@settings(max_examples=15, deadline=None)
@given(real)
def test_condition_and_substitute_score_alike(z):
    data = {"z": torch.tensor(z)}
    one, other = (P.trace(verb(model, data=data)).get_trace() for verb in (P.condition, P.substitute))
    assert torch.equal(one.log_prob_sum(), other.log_prob_sum())
    assert one["z"].is_observed
    assert not other["z"].is_observed


@settings(max_examples=15, deadline=None)
@given(real, st.integers(0, 1000))
def test_condition_then_uncondition_draws_as_if_nothing_had_been(z, seed):
    plain = P.trace(P.seed(P.uncondition(model), rng_seed=seed)).get_trace()
    round_trip = P.trace(P.seed(P.uncondition(P.condition(model, data={"z": torch.tensor(z)})), rng_seed=seed)).get_trace()
    assert round_trip.stochastic_nodes == plain.stochastic_nodes == ["z", "y"]
    assert torch.equal(round_trip["y"].value, plain["y"].value)


def test_the_innermost_data_are_overruled_further_out():
    inner, outer = {"z": torch.tensor(1.0)}, {"z": torch.tensor(2.0)}
    assert P.condition(P.condition(model, data=inner), data=outer)() == 2


def test_none_is_no_value():
    tr = P.trace(P.condition(model, data={"z": None, "y": None})).get_trace()
    assert tr.stochastic_nodes == ["z"]
    assert tr["y"].value == 1


def test_a_trace_will_do_for_data():
    first = P.trace(model).get_trace()
    again = P.trace(P.condition(model, data=first)).get_trace()
    assert torch.equal(again["z"].value, first["z"].value)
    assert again.observation_nodes == ["z", "y"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("s", r"'s' \(.*\) is a parameter here. Put condition outside lift.*or use substitute"),
        ("d", r"'d' \(.*\) is a deterministic site, which takes no value"),
        ("zz", r"no site of that name was reached. Did you mean 'z'\?"),
    ],
)
def test_values_that_are_not_used_are_warned_of(name, reason):
    conditioned = P.condition(model, data={name: torch.tensor(1.0)})
    with pytest.warns(UnusedSiteWarning, match=f"condition: the value for '{name}' was not used: {reason}") as caught:
        [conditioned() for _ in range(2)]
    assert len(caught) == 1
    with su.enable_validation(False):
        P.condition(model, data={name: torch.tensor(1.0)})()


def test_no_warning_while_an_exception_is_in_flight():
    def fails():
        raise KeyError("z")

    with pytest.raises(KeyError):
        P.condition(fails, data={"z": torch.tensor(1.0)})()


@pytest.mark.parametrize("value", [[2.0], torch.tensor([1.0, 2.0, float("nan")])])
def test_data_are_checked(value):
    with pytest.raises(ObservationError, match="given to site 'z'"):
        P.condition(model, data={"z": value})()


def test_data_are_a_mapping():
    with pytest.raises(TypeError, match="condition needs a mapping from names to values, but got 5"):
        P.condition(model, data=5)


def test_a_number_is_a_value():
    """A float, or an integer where the site counts; likewise in `do` and `substitute`."""

    def counted():
        return su.sample("x", dist.Normal(0.0, 1.0)) + su.sample("n", dist.Poisson(2.0))

    for handler in (P.condition, P.do, P.substitute):
        found = P.trace(handler(counted, data={"x": 1, "n": 3})).get_trace()
        assert found["x"].value.dtype == torch.float32
        assert float(found.result) == 4.0
    joint = P.trace(P.condition(counted, data={"x": 1.5, "n": 3})).get_trace().log_prob_sum()
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(1.5)) + torch.distributions.Poisson(2.0).log_prob(
        torch.tensor(3.0)
    )
    assert torch.allclose(joint, expected)
    with pytest.raises(ObservationError, match="support"):
        P.condition(lambda: su.sample("p", dist.Beta(1.0, 1.0)), data={"p": 2.0})()
