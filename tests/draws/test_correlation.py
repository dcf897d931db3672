"""How stretched a posterior is, from its draws."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.draws.correlation import MOST, stretched


def normal(covariance: np.ndarray, draws: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=(2, draws))


def test_the_ratio_of_a_known_normal():
    """One correlation ρ among all: eigenvalues 1 + (n − 1) ρ and 1 − ρ."""
    rho, n = 0.99, 5
    draws = normal((1 - rho) * np.eye(n) + rho, 4000) * [1.0, 10.0, 0.1, 1e3, 1.0] + [0, 5, 0, 0, -9]
    found, site = stretched(draws, [f"b[{i}]" for i in range(n)])
    # Standard deviations of two sample variances of 4,000 draws.
    assert found == pytest.approx((1 + (n - 1) * rho) / (1 - rho), rel=4 * np.sqrt(4 / 4000))
    assert site == "b"


def test_the_site_is_the_one_in_the_stiff_direction():
    pair = normal(np.array([[1.0, 0.999], [0.999, 1.0]]), 500)
    others = np.random.default_rng(1).normal(size=(2, 500, 3))
    assert stretched(np.concatenate([others, pair], axis=2), ["a", "z[0]", "z[1]", "b[0]", "b[1]"])[1] == "b"


@pytest.mark.parametrize("n", [2, 30, 200])
def test_independent_coordinates_are_not_stretched_however_few_the_draws(n):
    draws = np.random.default_rng(2).normal(size=(2, 2 * n + 20, n))
    assert stretched(draws, ["x"] * n)[0] < 5


def test_where_it_cannot_be_told():
    nothing = (1.0, "")
    assert stretched(np.zeros((2, 100, 3)), ["x"] * 3) == nothing
    assert stretched(np.random.default_rng(0).normal(size=(2, 10, 30)), ["x"] * 30) == nothing
    assert stretched(np.zeros((2, 100, 1)), ["x"]) == nothing
    assert stretched(np.full((2, 100, 2), np.nan), ["x"] * 2) == nothing
    assert stretched(np.zeros((1, 3 * MOST, MOST + 1)), ["x"] * (MOST + 1)) == nothing
