"""`uncondition` draws what was observed."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist

P = su.poutine


def model():
    with su.plate("data", 3):
        return su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor([9.0, 9.0, 9.0]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_it_draws_what_an_unobserved_site_would_have_drawn(seed):
    def latent():
        with su.plate("data", 3):
            return su.sample("y", dist.Normal(0.0, 1.0))

    assert torch.equal(P.seed(P.uncondition(model), rng_seed=seed)(), P.seed(latent, rng_seed=seed)())


def test_what_is_drawn_is_latent_and_scored():
    tr = P.trace(P.uncondition(model)).get_trace()
    assert tr.stochastic_nodes == ["y"]
    assert torch.allclose(tr.log_prob_sum(), torch.distributions.Normal(0.0, 1.0).log_prob(tr.result).sum())


def test_conditioning_outside_of_it_observes_again():
    data = {"y": torch.zeros(3)}
    tr = P.trace(P.condition(P.uncondition(model), data=data)).get_trace()
    assert tr["y"].is_observed
    assert tr.result.tolist() == [0, 0, 0]
