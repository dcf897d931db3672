"""Subsets of rows: none twice, each subset as likely as any other, and the same ones for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.training.subsets import Subsets


@pytest.fixture(scope="module")
def subsets() -> Subsets:
    return Subsets()


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 5), (5, 5), (4, 5), (100, 20_000), (999, 1000), (3, 2**40), (0, 3)])
def test_no_row_has_a_number_twice(subsets: Subsets, count: int, size: int) -> None:
    whole = np.full((50, count + 2), -1.0)
    subsets.draw(np.random.SFC64(1), count, size, whole[:, 1:-1])
    found = whole[:, 1:-1]
    assert (whole[:, [0, -1]] == -1.0).all(), "what lies beside them is left alone"
    assert (found == np.rint(found)).all()
    assert ((found >= 0) & (found < size)).all()
    assert all(len(set(row)) == count for row in found.tolist())


@pytest.mark.parametrize(("count", "size"), [(2, 5), (3, 5), (1, 7)])
def test_each_subset_is_as_likely_as_any_other(subsets: Subsets, count: int, size: int) -> None:
    rows = 8000
    found = np.empty((rows, count))
    subsets.draw(np.random.SFC64(2), count, size, found)
    _, seen = np.unique(np.sort(found, axis=1), axis=0, return_counts=True)
    kinds = {(2, 5): 10, (3, 5): 10, (1, 7): 7}[count, size]
    assert len(seen) == kinds
    share = 1.0 / kinds
    assert (np.abs(seen / rows - share) < 4.5 * np.sqrt(share * (1.0 - share) / rows)).all()


def test_rows_are_independent_and_come_from_the_generator(subsets: Subsets) -> None:
    found = [np.empty((4000, 3)) for _ in range(3)]
    for seed, out in zip((3, 3, 4), found, strict=True):
        subsets.draw(np.random.SFC64(seed), 3, 1000, out)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    sums = found[0].sum(1)
    # Of subsets of 3 of 1000: mean 3 · 499.5, and variance 3 · (1000² − 1) / 12 · (1 − 2 / 999).
    sd = np.sqrt(3 * (1000**2 - 1) / 12 * (1 - 2 / 999))
    assert abs(sums.mean() - 1498.5) < 4.5 * sd / np.sqrt(4000)
    assert abs(np.corrcoef(sums[1:], sums[:-1])[0, 1]) < 4.5 / np.sqrt(4000)


def test_what_does_not_fit(subsets: Subsets) -> None:
    with pytest.raises(ValueError, match="4 of 3 do not go into float64 of shape"):
        subsets.draw(np.random.SFC64(0), 4, 3, np.empty((2, 4)))
    with pytest.raises(ValueError, match="do not lie side by side"):
        subsets.draw(np.random.SFC64(0), 2, 3, np.empty((2, 4))[:, ::2])
