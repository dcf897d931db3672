"""Reliability and coverage: predictions that are right by construction, and others that are wrong by a known amount."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
from sursum.errors import PredictionError

RNG = np.random.default_rng(0)


def test_bins_by_hand():
    p, y = [0.1, 0.2, 0.8, 0.9], [0, 1, 1, 1]
    found = su.infer.reliability(p, y, num_bins=2)
    np.testing.assert_allclose(found.promised, [0.15, 0.85])
    np.testing.assert_allclose(found.happened, [0.5, 1.0])
    assert found.count.tolist() == [2, 2]
    assert found.error == pytest.approx(0.5 * 0.35 + 0.5 * 0.15)


def test_chance_is_binomial_where_probabilities_are_equal():
    found = su.infer.reliability(np.full(400, 0.3), RNG.binomial(1, 0.3, 400), num_bins=1)
    # Quantiles of a mean of 400, by 1,000 simulations: the standard error of such a quantile is about 0.002.
    assert found.low[0] == pytest.approx(stats.binom.ppf(0.025, 400, 0.3) / 400, abs=0.008)
    assert found.high[0] == pytest.approx(stats.binom.ppf(0.975, 400, 0.3) / 400, abs=0.008)


def test_right_probabilities_of_classes_pass_and_overconfident_ones_do_not():
    logits = RNG.normal(size=(3000, 3)) * 1.5
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([RNG.choice(3, p=row) for row in p])
    right = su.infer.reliability(torch.from_numpy(p), torch.from_numpy(labels))
    assert right.outside() <= 2  # of ten groups, each outside in one case of twenty: three or more has probability 0.012
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    wrong = su.infer.reliability(sharp, labels)
    assert wrong.outside() >= 6
    assert wrong.error > 5 * right.error
    assert "groups are outside" in str(wrong)
    assert wrong._repr_html_().count("<tr>") == 11


def test_coverage_of_a_normal_is_known():
    """Draws that are narrower by a factor: the interval of level a then holds 2Φ(z_a · factor) − 1."""
    draws, y = RNG.normal(size=(2, 1000, 2000)), RNG.normal(size=2000)
    found = su.infer.coverage(0.7 * draws, y)
    z = stats.norm.ppf((1 + np.array(found.promised)) / 2)
    np.testing.assert_allclose(found.happened, 2 * stats.norm.cdf(0.7 * z) - 1, atol=4.5 * 0.5 / 2000**0.5)
    assert found.outside() == 10
    assert su.infer.coverage(draws, y).outside() <= 2
    only = su.infer.coverage(draws[0], y, levels=[0.5])
    assert only.count.tolist() == [2000]
    assert only.low[0] == pytest.approx(stats.binom.ppf(0.025, 2000, 0.5) / 2000)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: su.infer.reliability([0.5, 0.5], [1]), "expected"),
        (lambda: su.infer.reliability([], []), "expected"),
        (lambda: su.infer.reliability([2.0], [1]), "softmax"),
        (lambda: su.infer.reliability([[0.5, 0.2]], [1]), "softmax"),
        (lambda: su.infer.reliability([float("nan")], [1]), "softmax"),
        (lambda: su.infer.reliability([0.5], [2]), "integers from 0 to 1"),
        (lambda: su.infer.coverage(np.zeros((5, 3)), np.zeros(4)), "was expected"),
        (lambda: su.infer.coverage(np.zeros((5, 3)), np.zeros(3), levels=[1.0]), "between 0 and 1"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(PredictionError, match=words):
        call()


def test_the_pictures():
    pytest.importorskip("matplotlib")
    for found in (su.infer.reliability([0.1, 0.9], [0, 1]), su.infer.coverage(np.zeros((5, 3)), np.zeros(3))):
        assert found.plot().axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("draws", "observed", "said"),
    [
        (torch.full((10, 3), torch.nan), torch.zeros(3), "`draws` has 30 NaN among 30"),
        (torch.zeros(10, 3), torch.tensor([0.0, torch.nan, 1.0]), "`observed` has 1 NaN among 3"),
        (torch.zeros(0, 3), torch.zeros(3), "shape"),
        ({"y": torch.zeros(10, 3)}, torch.zeros(3), "(?s)`draws` is .*array of numbers"),
    ],
)
def test_what_lies_in_no_interval_is_refused(draws, observed, said):
    with pytest.raises(PredictionError, match=said):
        su.infer.coverage(draws, observed)


def test_labels_that_are_words_are_refused():
    with pytest.raises(PredictionError, match="`labels` is .*array of numbers"):
        su.infer.reliability([0.2, 0.8], ["cat", "dog"])


def test_the_interval_of_chance_is_that_of_the_binomial():
    """Where all probabilities of a bin are one number: within one count of the exact quantiles."""
    found = su.infer.reliability(np.full(400, 0.3), np.zeros(400), num_bins=1)
    for mine, level in ((found.low, 0.025), (found.high, 0.975)):
        assert abs(mine[0] * 400 - stats.binom.ppf(level, 400, 0.3)) <= 1.0
    table = su.infer.reliability(np.tile([0.3, 0.7], (400, 1)), np.zeros(400), num_bins=2)
    assert np.allclose(table.low + table.high[::-1], 1.0)
