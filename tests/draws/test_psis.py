"""Pareto-smoothed importance weights: known tails, known effective sample sizes, weights of zero."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.draws.psis import resample_indices, smooth, verdict


@pytest.mark.parametrize("shape", [0.3, 0.5, 0.9])
def test_the_shape_of_a_known_tail(shape):
    """w = u^(-k) of a uniform u has a Pareto tail of shape k; the fit to 3 √N draws of 20,000 strays by about 0.07."""
    u = np.random.default_rng(0).uniform(size=20_000)
    assert abs(smooth(-shape * np.log(u)).pareto_k - shape) < 0.2


@pytest.mark.parametrize(
    ("n", "scale", "k", "ess", "largest"),
    [
        (100, 2.0, 0.06780487976315748, 21.078593621457518, -2.3769634011268637),
        (1000, 0.5, 0.1474413282893916, 772.3148512810527, -5.196431080259886),
        (5000, 3.0, 0.9961243199216415, 29.06622590364884, -2.158486423624977),
    ],
)
def test_the_numbers_are_those_of_another_implementation(n, scale, k, ess, largest):
    """`psislw` of ArviZ 0.23.4 on the same weights."""
    seed = {100: 0, 1000: 1, 5000: 2}[n]
    found = smooth(scale * np.random.default_rng(seed).normal(size=n))
    np.testing.assert_allclose([found.pareto_k, found.ess, found.log_weights.max()], [k, ess, largest], rtol=1e-9)


def test_a_tail_of_few_weights_is_as_heavy_as_can_be():
    """All but three of 40 weights are below the smallest number there is beside the largest."""
    log_weights = np.concatenate([np.arange(37) - 5000.0, [-2.0, -1.0, 0.0]])
    assert smooth(log_weights).pareto_k == np.inf
    np.testing.assert_allclose(np.exp(smooth(log_weights).log_weights).sum(), 1.0)


def test_weights_sum_to_one_and_keep_their_order():
    log_weights = np.random.default_rng(1).normal(size=500)
    found = smooth(log_weights)
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1.0)
    assert (found.log_weights.argsort() == log_weights.argsort()).all()


def test_the_effective_sample_size_of_log_normal_weights():
    """E[w]² / E[w²] = exp(-s²) for log w ~ N(0, s²)."""
    log_weights = 0.5 * np.random.default_rng(2).normal(size=20_000)
    np.testing.assert_allclose(smooth(log_weights).ess / 20_000, np.exp(-0.25), rtol=0.03)


def test_equal_weights_and_few_draws_have_no_shape():
    for log_weights in (np.full(100, 3.0), np.array([0.0, 1.0])):
        found = smooth(log_weights)
        assert np.isnan(found.pareto_k)
        np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1.0)
    np.testing.assert_allclose(smooth(np.full(100, 3.0)).ess, 100)
    assert verdict(np.nan) == ()


def test_weights_of_zero_stay_zero():
    log_weights = np.where(np.arange(300) % 3, np.random.default_rng(3).normal(size=300), -np.inf)
    found = smooth(log_weights)
    assert np.isneginf(found.log_weights[::3]).all()
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1.0)
    assert not (resample_indices(found, 1000, np.random.default_rng(0)) % 3 == 0).any()


def test_resampling_follows_the_weights():
    found = smooth(np.log(np.array([0.2, 0.5, 0.3])))
    counts = np.bincount(resample_indices(found, 10_000, np.random.default_rng(0)), minlength=3)
    # The sd of a share of 10,000 draws is at most 0.005.
    np.testing.assert_allclose(counts / 10_000, [0.2, 0.5, 0.3], atol=0.02)


def test_what_a_large_shape_says():
    (text,) = verdict(0.93)
    assert text.startswith("Pareto k is 0.93, above 0.7: the approximation misses part of the posterior")
    assert verdict(0.7) == ()


@pytest.mark.parametrize("wrong", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_what_is_no_weight(wrong):
    with pytest.raises(ValueError, match="importance weights must be numbers, not all of them 0"):
        smooth(np.array(wrong))
