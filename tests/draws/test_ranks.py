"""One sort, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from sursum.draws.ranks import SortedDraws


def rows(kind: str) -> np.ndarray:
    draws = np.random.default_rng(1).normal(size=(7, 41))
    return {"real": draws, "tied": np.round(draws), "two": (draws > 0).astype(float), "even": draws[:, :40]}[kind]


def by_scipy(draws: np.ndarray) -> np.ndarray:
    return np.stack([ndtri((rankdata(row) - 0.375) / (row.size + 0.25)) for row in draws])


@pytest.mark.parametrize("kind", ["real", "tied", "two", "even"])
def test_scores_are_those_of_average_ranks(kind):
    draws = rows(kind)
    np.testing.assert_allclose(SortedDraws.of(draws).scores(), by_scipy(draws), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["real", "tied", "two", "even"])
def test_folded_scores_are_those_of_distances_from_the_median(kind):
    draws = rows(kind)
    folded = np.abs(draws - np.median(draws, axis=1, keepdims=True))
    np.testing.assert_allclose(SortedDraws.of(draws).folded_scores(), by_scipy(folded), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 20, 21, 22, 400])
def test_quantiles_and_medians_are_numpys_to_the_last_bit(size):
    draws = np.random.default_rng(2).normal(size=(50, size))
    found = SortedDraws.of(draws)
    np.testing.assert_array_equal(found.median(), np.median(draws, axis=1))
    for probability in (0.05, 0.5, 0.95):
        np.testing.assert_array_equal(found.quantile(probability), np.quantile(draws, probability, axis=1))
