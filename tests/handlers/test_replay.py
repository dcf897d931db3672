"""trace∘replay is the identity."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import ObservationError

P = su.poutine


def model(data):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    tau = su.sample("tau", dist.HalfCauchy(1.0))
    kind = su.sample("kind", dist.Categorical(torch.ones(3)))
    with su.plate("data", len(data), subsample_size=2) as indices:
        z = su.sample("z", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(z + kind, 1.0), obs=data[indices])
    return su.deterministic("sum", z.sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 6))
def test_the_trace_of_a_replayed_trace_is_that_trace(seed, size):
    data = torch.arange(float(size))
    first = P.trace(P.seed(model, rng_seed=seed)).get_trace(data)
    again = P.trace(P.replay(model, trace=first)).get_trace(data)
    assert list(again) == list(first)
    for name, site in first.items():
        assert torch.equal(again[name].value, site.value)
        assert again[name]["is_observed"] == site["is_observed"]
    assert torch.equal(again.log_prob_sum(), first.log_prob_sum())
    assert torch.equal(again.result, first.result)


def test_sites_that_the_trace_lacks_are_drawn_and_observations_stay():
    first = P.trace(lambda: su.sample("a", dist.Normal(0.0, 1.0))).get_trace()

    def larger():
        a = su.sample("a", dist.Normal(5.0, 1.0))
        b = su.sample("b", dist.Delta(torch.tensor(3.0)))
        return a, b, su.sample("mu", dist.Normal(0.0, 1.0), obs=torch.tensor(7.0))

    a, b, mu = P.replay(larger, trace=first)()
    assert (a, b, mu) == (first["a"].value, 3, 7)


def test_a_parameter_of_the_trace_is_not_replayed():
    first = P.trace(lambda: su.param("s", torch.tensor(4.0))).get_trace()
    assert P.replay(lambda: su.param("s", torch.tensor(1.0)), trace=first)() == 1
    assert P.replay(lambda: su.sample("s", dist.Delta(torch.tensor(2.0))), trace=first)() == 2


def test_the_trace_of_another_model_is_refused():
    first = P.trace(lambda: su.sample("a", dist.Normal(torch.zeros(3, 1), 1.0))).get_trace()
    with pytest.raises(ObservationError, match=r"given to site 'a' .* has shape \(3, 1\)"):
        P.replay(lambda: su.sample("a", dist.Normal(torch.zeros(3), 1.0)), trace=first)()
