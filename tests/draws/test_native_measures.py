"""The C of the diagnostics against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sursum.draws.measures import mixing_of, moments
from sursum.draws.native_measures import NativeMeasures


def walk(phi: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=shape)
    for t in range(1, shape[1]):
        draws[:, t] += phi * draws[:, t - 1]
    return draws


def compare(draws: np.ndarray, *, left: int | None = 0) -> None:
    """Both ways on unknowns (chain, draw, unknown), of which C must leave that many to NumPy; None for any number."""
    native = NativeMeasures.open(*draws.shape[:2])
    if native is None:
        pytest.skip("no compiler")
    found = np.full((8, draws.shape[2]), 7.0)
    unknown = native.measure(np.ascontiguousarray(draws, dtype=np.float64), found)
    if left is not None:
        assert unknown.sum() == left
    rows = np.ascontiguousarray(np.moveaxis(draws, -1, 0), dtype=np.float64)
    with np.errstate(all="ignore"):
        wanted = np.concatenate([mixing_of(rows), moments(rows.reshape(len(rows), -1))])
    found, wanted, size = found[:, ~unknown], wanted[:, ~unknown], np.abs(rows[~unknown]).max(axis=(1, 2), initial=0.0)
    for numbers in (found, wanted):  # the variance within chains that are stuck is what rounding makes of it
        numbers[0, numbers[0] > 1e6] = np.inf
    np.testing.assert_allclose(found[:3], wanted[:3], rtol=1e-10)
    np.testing.assert_array_equal(found[5:], wanted[5:])
    with np.errstate(invalid="ignore"):
        off = np.abs(found[3:5] - wanted[3:5])  # sums are rounded by their largest parts
    assert (np.isnan(found[3:5]) == np.isnan(wanted[3:5])).all()
    assert not (off > 1e-13 * size).any()


@pytest.mark.parametrize("phi", [0.0, 0.95, -0.9])
@pytest.mark.parametrize("shape", [(4, 1000, 9), (4, 101, 3), (2, 4, 3), (3, 5, 8), (1, 64, 2), (1, 129, 2), (7, 130, 3)])
def test_chains(phi, shape):
    compare(walk(phi, shape), left=None if shape[1] < 10 else 0)


def test_ties():
    draws = walk(0.5, (4, 301, 4))
    compare(np.round(draws))
    compare((draws > 1).astype(np.float64))
    compare(draws > draws.mean())
    compare(np.round(draws, 1))


def test_chains_that_disagree():
    draws = walk(0.5, (4, 200, 4))
    draws[0, :, 1] += 5.0
    draws[1, :, 2] *= 20.0
    draws[2:, :, 3] = 0.25
    compare(draws)


def test_constants():
    draws = np.full((4, 101, 5), 3.0)
    draws[:, 50, 1] = 4.0  # left out of the halves
    draws[0, 0, 2] = 4.0
    draws[:, :, 3] = np.arange(4.0)[:, None]
    draws[:, :, 4] = -0.0
    draws[::2, ::2, 4] = 0.0
    compare(draws)


def test_what_is_not_finite():
    draws = walk(0.3, (4, 100, 6))
    draws[2, 7, 1] = np.nan
    draws[2, 7, 2] = np.inf
    draws[:, :60, 3] = -np.inf
    draws[0, 0, 4], draws[0, 1, 4] = np.nan, np.inf
    compare(draws, left=2)


def test_numbers_of_all_sizes():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(2, 300, 8))
    draws[..., 1] = rng.standard_cauchy(size=(2, 300)) ** 3
    draws[..., 2] = np.exp(60.0 * draws[..., 2])
    draws[..., 3] *= 1e-310
    draws[..., 4] = 1e15 + np.round(draws[..., 4])
    draws[..., 5] *= 5e307
    draws[..., 6] = np.where(draws[..., 6] > 0, 1.0, -1.0) * np.exp(150.0 * draws[..., 6])
    draws[0, 0, 7] = 1e300
    compare(draws, left=None)


def test_what_lies_in_few_intervals_is_sorted_by_its_digits():
    """Two thousand draws close together, and one far away."""
    draws = np.random.default_rng(2).normal(size=(2, 1001, 3))
    draws[0, 0] = 1e12
    draws[1, 1, 1] = -1e12
    compare(draws)


def test_slow_chains_are_left_to_the_transform():
    compare(walk(0.999, (2, 3000, 2)), left=None)
    compare(np.linspace(0, 1, 4000).reshape(1, 4000, 1), left=1)


def test_where_rounding_would_decide_numpy_does():
    compare(np.tile([1.0, -1.0], 50)[None, :, None] * np.ones((2, 1, 1)), left=None)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(4, 12), st.integers(1, 3)),
        elements=st.floats(-3, 3, width=16) | st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, 1e308, -1e308, 5e-324]),
    )
)
def test_anything(draws):
    compare(draws, left=None)


def test_other_draws_than_expected_are_refused():
    native = NativeMeasures.open(2, 10)
    if native is None:
        pytest.skip("no compiler")
    for shape in [(2, 9, 3), (3, 10, 3)]:
        with pytest.raises(ValueError, match="are not as expected"):
            native.measure(np.zeros(shape), np.zeros((8, 3)))
    with pytest.raises(ValueError, match="are not as expected"):
        native.measure(np.zeros((2, 10, 3), dtype=np.float32), np.zeros((8, 3)))
