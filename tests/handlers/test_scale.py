"""scale(a)∘scale(b) = scale(ab)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist

P = su.poutine
number = st.floats(0, 10, width=32)


def model():
    z = su.sample("z", dist.Normal(torch.zeros(3), 1.0))
    su.factor("f", torch.tensor(-1.0))
    su.deterministic("d", z)
    su.sample("y", dist.Normal(z, 1.0), obs=torch.ones(3))


def scores(handled):
    return P.trace(P.substitute(handled, data={"z": torch.tensor([0.1, 0.2, 0.3])})).get_trace().log_prob()


@settings(max_examples=30, deadline=None)
@given(number, number)
def test_scales_multiply(a, b):
    plain, nested, product = scores(model), scores(P.scale(P.scale(model, b), a)), scores(P.scale(model, a * b))
    for name in plain:
        assert torch.allclose(nested[name], product[name], rtol=1e-5, atol=1e-6)
        assert torch.allclose(product[name], a * b * plain[name], rtol=1e-5, atol=1e-6)


def test_a_tensor_scales_elementwise_and_is_differentiable():
    weights = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    found = scores(P.scale(model, weights))
    assert torch.allclose(found["y"], weights * scores(model)["y"])
    found["y"].sum().backward()
    assert torch.allclose(weights.grad, scores(model)["y"])


def test_it_scales_within_plates():
    def plated():
        with su.plate("data", 10, subsample=torch.tensor([0, 1])):
            su.factor("f", torch.tensor([1.0, 2.0]))

    assert P.trace(P.scale(plated, 0.5)).get_trace().log_prob_sum() == 0.5 * 5 * 3


@pytest.mark.parametrize("scale", [-1.0, float("nan"), torch.tensor([1.0, -1.0])])
def test_negative_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale must not be negative, but is"):
        P.scale(model, scale)
