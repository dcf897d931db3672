"""Chunks that we write are those that Zarr reads, whatever the pieces in which they come."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from tests.support.few import few

from sursum.errors import StorageError
from sursum.io.zarr_chunks import ChunkWriter
from sursum.io.zarr_store import Column, DrawTable, ZarrStore


@pytest.fixture
def empty(tmp_path):
    """A store of arrays of every kind, with seven draws to a chunk of the large one."""
    columns = {
        "wide": Column((1 << 14,), np.dtype(np.float64)),
        "real": Column((), np.dtype(np.float64)),
        "count": Column((2, 3), np.dtype(np.int64)),
        "flag": Column((), np.dtype(np.bool_)),
        "none": Column((0,), np.dtype(np.float64)),
        "half": Column((2,), np.dtype(np.float32)),
    }
    with ZarrStore.creating(tmp_path / "a.zarr", "k", 1, {}) as store:
        store.add("sample", DrawTable(2, 40, {"g": columns}))
    return ZarrStore(tmp_path / "a.zarr"), columns


def draws(columns, count, seed=0):
    rng = np.random.default_rng(seed)
    return {name: (3 * rng.normal(size=(count, *c.shape))).astype(c.dtype) for name, c in columns.items()}


PIECES = [[40], [1] * 40, [3, 5, 8, 24], [8, 8, 8, 16], [39, 1]]


@pytest.mark.parametrize("pieces", few(PIECES, [[3, 5, 8, 24], [39, 1]]))
def test_zarr_reads_what_was_written_in_pieces(empty, pieces):
    store, columns = empty
    whole, begin = draws(columns, 40), 0
    for piece in pieces:
        for chain in (1, 0):
            part = {name: values[begin : begin + piece] * (chain + 1) for name, values in whole.items()}
            store.append("sample", chain, {"g": {n: p.astype(columns[n].dtype) for n, p in part.items()}})
        begin += piece
    fresh, _ = ZarrStore.open(store.path, "k", 1)
    for name, values in whole.items():
        found = zarr.open_array(store=str(store.path), path=f"g/{name}", mode="r")[...]
        np.testing.assert_array_equal(found, [values, (values * 2).astype(values.dtype)])
        np.testing.assert_array_equal(fresh.read("sample", "g", name, [0, 1], 40), found)


def test_another_writer_continues_within_a_chunk(empty):
    store, columns = empty
    whole = draws(columns, 20)
    store.append("sample", 0, {"g": {name: values[:11] for name, values in whole.items()}})
    second = ZarrStore(store.path)
    second.append("sample", 0, {"g": {name: values[11:] for name, values in whole.items()}})
    for name, values in whole.items():
        np.testing.assert_array_equal(ZarrStore(store.path).read("sample", "g", name, [0], 20)[0], values)


def test_a_chunk_of_zeros_is_a_file_and_a_changed_one_is_noticed(empty):
    store, _ = empty
    (file,) = ChunkWriter(store.path / "g" / "real", store._open("g/real")).write(0, 0, np.zeros(40))
    assert file.exists()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(StorageError):
        ZarrStore(store.path).read("sample", "g", "real", [0], 40)
