"""Logarithms of probabilities that are given, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum.distributions as dist

# What float32 holds next to 0 and to 1, with all digits.
SMALL, LARGE = float(np.float32(1e-30)), float(np.float32(1.0) - np.float32(2.0**-24))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_categories_of_small_probability(dtype: torch.dtype) -> None:
    probs = torch.tensor([1.0, SMALL, 1e-9, 0.0], dtype=dtype)
    wanted = [0.0, np.log(SMALL), np.log(1e-9)]
    found = dist.Categorical(probs).log_prob(torch.arange(3))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    one_hot = dist.OneHotCategorical(probs).log_prob(torch.eye(4, dtype=dtype)[:3])
    np.testing.assert_allclose(one_hot, wanted, rtol=1e-6, atol=1e-6)
    straight = dist.OneHotCategoricalStraightThrough(probs.expand(2, 4)).log_prob(torch.eye(4, dtype=dtype)[:, None])
    np.testing.assert_allclose(straight[:3], np.stack([wanted, wanted], 1), rtol=1e-6, atol=1e-6)
    counts = dist.Multinomial(2, probs).log_prob(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=dtype))
    assert float(counts) == pytest.approx(np.log(2) + np.log(SMALL), rel=1e-6)
    # No category is impossible, as the density of a sampler must have a slope everywhere.
    assert float(dist.Categorical(probs).log_prob(torch.tensor(3))) == pytest.approx(np.log(torch.finfo(dtype).tiny), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_odds(dtype: torch.dtype) -> None:
    probs = torch.tensor([SMALL, 1e-9, 0.3, LARGE], dtype=dtype)
    p, eps = probs.double().numpy(), torch.finfo(dtype).eps
    np.testing.assert_allclose(dist.Bernoulli(probs).log_prob(torch.ones(4, dtype=dtype)), np.log(p), rtol=1e-6, atol=eps)
    np.testing.assert_allclose(dist.Bernoulli(probs).log_prob(torch.zeros(4, dtype=dtype)), np.log1p(-p), rtol=1e-6, atol=eps)
    binomial = dist.Binomial(3, probs).log_prob(torch.full((4,), 3.0, dtype=dtype))
    np.testing.assert_allclose(binomial, 3 * np.log(p), rtol=1e-5, atol=3 * eps)
    negative = dist.NegativeBinomial(1.0, probs).log_prob(torch.full((4,), 2.0, dtype=dtype))
    np.testing.assert_allclose(negative, np.log1p(-p) + 2 * np.log(p), rtol=1e-5)


def test_a_slope_next_to_0() -> None:
    probs = torch.tensor([1e-12], requires_grad=True)
    (slope,) = torch.autograd.grad(dist.Bernoulli(probs).log_prob(torch.ones(1)).sum(), probs)
    assert float(slope) == pytest.approx(1e12, rel=1e-5)


def test_copies_and_logits_that_are_given() -> None:
    fn = dist.Categorical(torch.tensor([1.0, 1e-9]))
    np.testing.assert_allclose(fn.expand([3]).log_prob(torch.ones(3)), np.log(1e-9), rtol=1e-6)
    hot = dist.OneHotCategorical(torch.tensor([1.0, 1e-9])).expand([3])
    np.testing.assert_allclose(hot.log_prob(torch.tensor([0.0, 1.0])), np.log(1e-9), rtol=1e-6)
    given = dist.OneHotCategorical(logits=torch.tensor([0.0, -50.0]))
    assert float(given.log_prob(torch.tensor([0.0, 1.0]))) == pytest.approx(-50.0)
    with pytest.raises(ValueError, match="support"):
        hot.log_prob(torch.tensor([0.5, 0.5]))
