"""Draws in a store read like arrays of NumPy, and no more of them is read than is asked for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sursum.io import lazy_draws
from sursum.io.lazy_draws import LazyRows, StoredArray, StoredArrays, StoredSites, arrays_of, batches, shape_of
from sursum.io.zarr_store import Column

CHAINS, DRAWS = 3, 7
WHOLE = {
    "x": np.arange(5 * 10 * 2.0).reshape(5, 10, 2),
    "n": np.arange(50).reshape(5, 10),
}


@dataclass
class Store:
    """Holds `WHOLE`, five chains of ten draws, and notes how many draws of how many chains are read."""

    path: str = "run.zarr"
    read_: list[tuple[int, int]] = field(default_factory=list)

    def column(self, table, group, name):
        return Column(WHOLE[name].shape[2:], WHOLE[name].dtype)

    def read(self, table, group, name, chains, end, begin=0):
        self.read_.append((len(list(chains)), end - begin))
        return WHOLE[name][list(chains), begin:end]


def stored(name="x", chains=(4, 0, 2), draws=DRAWS):
    return StoredArray(Store(), "sample", "posterior", name, chains, draws)


def whole(name="x", chains=(4, 0, 2), draws=DRAWS):
    return WHOLE[name][list(chains), :draws]


slices = st.builds(slice, *[st.one_of(st.none(), st.integers(-9, 9))] * 2, st.sampled_from([None, 1, 2, 3]))
KEYS = st.one_of(
    st.tuples(st.one_of(st.integers(-3, 2), slices), st.one_of(st.integers(-7, 6), slices)),
    st.tuples(st.one_of(st.integers(-3, 2), slices), slices, st.one_of(st.integers(-2, 1), slices)),
    st.integers(-3, 2),
    slices,
)


@given(KEYS)
def test_it_is_indexed_like_an_array(key):
    array = stored()
    np.testing.assert_array_equal(array[key], whole()[key])


@pytest.mark.parametrize(
    "key",
    [
        ...,
        (..., 0),
        (),
        None,
        [0, 2],
        np.array([True, False, True]),
        (slice(None), [1, 5]),
        np.int64(1),
        (0, slice(None, None, -1)),
        (slice(None, None, -2), 3),
    ],
)
def test_other_indices(key):
    np.testing.assert_array_equal(stored()[key], whole()[key])


def test_an_index_outside():
    for key in (3, -4, (0, 7), (0, -8), (0, 0, 2), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            stored()[key]


@pytest.mark.parametrize(
    ("key", "read"),
    [((1, 4), (1, 1)), (2, (1, 7)), ((slice(None), slice(2, 5)), (3, 3)), ((slice(0, 1), slice(1, 6, 3)), (1, 4))],
)
def test_no_more_is_read_than_is_named(key, read):
    array = stored()
    _ = array[key]
    assert array.store.read_ == [read]


def test_what_it_looks_like_is_known_without_reading():
    array = stored()
    assert (array.shape, array.ndim, array.dtype, array.nbytes, len(array)) == ((3, 7, 2), 3, np.float64, 3 * 7 * 2 * 8, 3)
    assert repr(array) == "<'x' in 'run.zarr': (3, 7, 2) of float64>"
    assert shape_of(StoredSites({"x": array}), "x") == (3, 7, 2)
    assert shape_of(StoredSites({"x": array}, flat=True), "x") == (7, 2)
    assert shape_of({"x": torch.zeros(4, 2)}, "x") == (4, 2)
    assert LazyRows(array).shape == (21, 2)
    assert array.store.read_ == []


def test_arithmetic_and_methods_are_those_of_the_array():
    array = stored()
    np.testing.assert_array_equal(2 * array + array, 3 * whole())
    np.testing.assert_array_equal(np.exp(array), np.exp(whole()))
    np.testing.assert_array_equal(np.add.reduce(array), whole().sum(0))
    assert array.mean() == whole().mean()
    assert np.asarray(array, dtype=np.float32).dtype == np.float32
    with pytest.raises(AttributeError):
        array._nothing  # noqa: B018


@pytest.mark.parametrize("each", [1, 3, 7, 100])
def test_blocks_follow_one_another(monkeypatch, each):
    array = stored()
    monkeypatch.setattr(lazy_draws, "ONE_PASS", each * array.nbytes // DRAWS)
    blocks = list(array.blocks())
    assert [block.shape[1] for block in blocks[:-1]] == [each] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks, 1), whole())


@given(st.integers(0, 21), st.integers(0, 21))
def test_rows_of_chains_one_after_the_other(one, other):
    begin, end = min(one, other), max(one, other)
    flat = whole().reshape(-1, 2)
    np.testing.assert_array_equal(stored().rows(begin, end), flat[begin:end])
    assert torch.equal(LazyRows(stored())[begin:end:2], torch.from_numpy(flat[begin:end:2]))
    if begin < 21:
        assert torch.equal(LazyRows(stored())[begin], torch.from_numpy(flat[begin]))


def test_what_leaves_the_process_are_the_draws():
    for other in (copy.deepcopy(stored()), pickle.loads(pickle.dumps(stored()))):
        assert type(other) is np.ndarray
        np.testing.assert_array_equal(other, whole())
    sites = StoredSites({"x": stored()})
    again = pickle.loads(pickle.dumps(sites))
    assert type(again) is dict
    assert torch.equal(again["x"], sites["x"])


def test_sites_are_tensors_and_statistics_arrays():
    sites = StoredSites({"x": stored(), "n": stored("n")})
    assert list(sites) == ["x", "n"]
    assert len(sites) == 2
    assert "n" in sites
    assert "m" not in sites
    assert torch.equal(sites["n"], torch.from_numpy(whole("n")))
    assert torch.equal(StoredSites(sites.arrays, flat=True)["x"], torch.from_numpy(whole()[0]))
    assert list(sites.only(["n"])) == ["n"]
    assert sites.only(["n"], flat=True).flat
    np.testing.assert_array_equal(StoredArrays({"x": stored()})["x"], whole())
    assert repr(sites) == "<stored: x (3, 7, 2), n (3, 7)>"
    with pytest.raises(KeyError):
        sites["m"]


def test_arrays_of_a_store_stay_there():
    sites = StoredSites({"x": stored(), "n": stored("n")})
    assert arrays_of(sites, ["n"])["n"] is sites.arrays["n"]
    assert sites.arrays["n"].store.read_ == []
    np.testing.assert_array_equal(arrays_of({"x": torch.ones(2, requires_grad=True)})["x"], np.ones(2))
    flat = arrays_of(StoredSites({"x": stored()}, flat=True))["x"]
    np.testing.assert_array_equal(flat, whole()[0])


def test_small_draws_are_read_once_and_the_oldest_make_room(monkeypatch):
    arrays = {name: stored("n") for name in "abc"}
    reads = lambda: [len(arrays[name].store.read_) for name in "abc"]
    size = arrays["a"].nbytes
    monkeypatch.setattr(lazy_draws, "KEPT", 2 * size)
    sites = StoredSites(arrays)
    for name in "abab":
        _ = sites[name]
    assert reads() == [1, 1, 0]
    _ = sites["c"], sites["b"], sites["c"]
    assert reads() == [1, 1, 1]
    _ = sites["a"]
    assert reads() == [2, 1, 1]
    monkeypatch.setattr(lazy_draws, "KEPT", size - 1)
    large = StoredSites(arrays)
    _ = large["a"], large["a"]
    assert reads() == [4, 1, 1]


def test_batches_hold_so_many_bytes_and_every_array(monkeypatch):
    monkeypatch.setattr("sursum.io.lazy_draws.ONE_PASS", 90)
    arrays = {name: np.zeros(count) for name, count in {"a": 5, "b": 7, "c": 1, "d": 20, "e": 2}.items()}
    assert [list(some) for some in batches(arrays)] == [["a"], ["b", "c"], ["d"], ["e"]]
    assert [list(some) for some in batches(arrays, ["e", "c"])] == [["e", "c"]]
