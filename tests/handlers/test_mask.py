"""`mask` counts where it is True."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist

P = su.poutine
NAN = float("nan")
masks = st.lists(st.booleans(), min_size=4, max_size=4).map(torch.tensor)


def model(data):
    z = su.sample("z", dist.Normal(torch.zeros(4), 1.0))
    su.factor("f", torch.arange(4.0))
    su.sample("y", dist.Normal(z, 1.0), obs=data)


def scores(handled):
    return P.trace(P.substitute(handled, data={"z": torch.tensor([0.1, 0.2, 0.3, 0.4])})).get_trace(torch.ones(4)).log_prob()


def test_mask_true_changes_nothing():
    plain = scores(model)
    for handled in (P.mask(model, True), P.mask(model, torch.ones(4, dtype=torch.bool)), P.mask(model, torch.tensor(True))):
        assert all(torch.equal(term, plain[name]) for name, term in scores(handled).items())


def test_mask_false_leaves_zero():
    assert all(not term.any() for term in scores(P.mask(model, False)).values())


@settings(max_examples=25, deadline=None)
@given(masks, masks)
def test_masks_are_joined_by_and(a, b):
    plain, nested = scores(model), scores(P.mask(P.mask(model, b), a))
    for name, term in plain.items():
        assert torch.equal(nested[name], torch.where(a & b, term, 0.0))


@settings(max_examples=25, deadline=None)
@given(masks)
def test_missing_data_leave_value_and_gradient_as_without_them(present):
    """The density with NaN under the mask equals that of the program that never had these observations."""
    data = torch.where(present, torch.tensor([1.0, 2.0, 3.0, 4.0]), NAN)
    loc = torch.zeros(4, requires_grad=True)

    def masked():
        with P.mask(mask=present):
            su.sample("y", dist.Normal(loc, 2.0), obs=data)

    total = P.trace(masked).get_trace().log_prob_sum()
    (gradient,) = torch.autograd.grad(total, loc)
    expected = torch.distributions.Normal(0.0, 2.0).log_prob(data[present]).sum()
    assert torch.allclose(total, expected)
    assert torch.allclose(gradient, torch.where(present, data / 4, 0.0))


def test_inside_a_log_density():
    data = torch.tensor([1.0, NAN, 3.0])

    def program():
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("data", 3), P.mask(mask=torch.isfinite(data)):
            su.sample("y", dist.Normal(mu, 1.0), obs=data)

    density = su.infer.LogDensity(program)
    q = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(density(q), q)
    assert gradient.tolist() == [4.0]


@pytest.mark.parametrize(("mask", "what"), [(torch.ones(2), "torch.float32"), (1, "not 1"), ([True], r"not \[True\]")])
def test_other_masks_are_refused(mask, what):
    with pytest.raises(TypeError, match=f"mask needs a boolean tensor.*{what}"):
        P.mask(model, mask)
