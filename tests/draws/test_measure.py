"""Blocks of unknowns, with and without C, alone and together."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.draws import measure
from sursum.draws.measure import measure_by_name
from sursum.draws.native_measures import NativeMeasures


def sites() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    walks = rng.normal(size=(4, 60, 3, 5)).cumsum(axis=1)
    found = {"a": rng.normal(size=(4, 60)), "b": walks, "c": np.zeros((4, 60, 0)), "d": rng.normal(size=(4, 60, 7)) > 0}
    broken = rng.normal(size=(4, 60, 3))
    broken[1, 2, 0], broken[1, 2, 1] = np.nan, np.inf
    return found | {"e": broken, "f": rng.poisson(3.0, size=(4, 60, 2)), "g": rng.normal(size=(4, 60, 4)).astype(np.float32)}


@pytest.fixture(params=["C", "NumPy"])
def how(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(NativeMeasures, "open", lambda *_: None)
    elif NativeMeasures.open(4, 60) is None:
        pytest.skip("no compiler")
    return request.param


@pytest.mark.parametrize("block", [1, 1000, 1 << 18])
@pytest.mark.parametrize("cores", [1, 3])
def test_sites_are_diagnosed_together_as_they_are_apart(monkeypatch, how, block, cores):
    """Whatever the blocks, and however many threads compute them."""
    monkeypatch.setattr(measure, "BLOCK", block)
    monkeypatch.setattr(measure, "available_cores", lambda: cores)
    together = measure_by_name(sites(), with_moments=True)
    assert list(together) == list(sites())
    for name, draws in sites().items():
        assert together[name].shape == (8, *draws.shape[2:])
        flat = draws.reshape(4, 60, -1)
        for k in range(flat.shape[2]):
            alone = measure_by_name({"one": flat[:, :, k]}, with_moments=True)["one"]
            np.testing.assert_allclose(together[name].reshape(8, -1)[:, k], alone, rtol=1e-12)


def test_moments_are_numpys(how):
    for draws in sites().values():
        flat = draws.reshape(240, -1).astype(np.float64)
        found = measure_by_name({"x": draws}, with_moments=True)["x"].reshape(8, -1)[3:]
        with np.errstate(invalid="ignore"):
            wanted = [flat.mean(axis=0), flat.std(axis=0, ddof=1), *np.quantile(flat, (0.05, 0.5, 0.95), axis=0)]
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_few_draws_have_moments_and_no_mixing(how, length):
    draws = np.arange(2.0 * length).reshape(2, length)
    found = measure_by_name({"x": draws}, with_moments=True)["x"]
    assert np.isnan(found[:3]).all()
    assert np.isnan(found[3:]).all() if not length else found[3] == draws.mean()


def test_parts_of_larger_arrays_are_read_where_they_are(how):
    whole = np.random.default_rng(0).normal(size=(5, 90, 8))
    for part in (whole[1:, 30:], whole[::2, ::3], whole[:, :, 3:5], whole[:, :, ::3], whole[:, :, 2], whole[:, ::-1, :3]):
        found = measure_by_name({"x": part}, with_moments=True)["x"]
        wanted = measure_by_name({"x": part.copy()}, with_moments=True)["x"]
        np.testing.assert_array_equal(found, wanted)
