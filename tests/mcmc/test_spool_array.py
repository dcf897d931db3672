"""Files of nutpie's store, read as Zarr reads them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from sursum.mcmc.spool_array import SpoolArray, forget


@pytest.mark.parametrize("compressor", [BloscCodec(), ZstdCodec(), GzipCodec(), None])
@pytest.mark.parametrize(("dtype", "fill"), [("float64", float("nan")), ("uint64", 0), ("bool", False)])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_it_reads_what_zarr_wrote(tmp_path, compressor, dtype, fill, shape):
    array = zarr.create_array(
        store=str(tmp_path), name="a", shape=(1, 100, *shape), chunks=(1, 16, *shape), dtype=dtype, fill_value=fill,
        compressors=None if compressor is None else [compressor], zarr_format=3,
    )  # fmt: skip
    values = (np.random.default_rng(0).normal(size=(70, *shape)) > 0).astype(dtype)
    array[0, :70] = values
    found = SpoolArray.open(tmp_path / "a")
    assert (found.length, found.size, found.shape, found.dtype) == (100, 16, shape, np.dtype(dtype))
    np.testing.assert_array_equal(found.read(0, 70), values)
    np.testing.assert_array_equal(found.read(5, 33), values[5:33])
    np.testing.assert_array_equal(found.read(64, 96), array[0, 64:96])
    assert [found.written(index) for index in (0, 4, 5)] == [True, True, False]
    forget(tmp_path / "a", 0, 3)
    assert [found.written(index) for index in (0, 2, 3)] == [False, False, True]
    np.testing.assert_array_equal(found.read(40, 60), array[0, 40:60])


def test_what_is_stored_in_another_way_is_refused(tmp_path):
    zarr.create_array(store=str(tmp_path), name="a", shape=(1, 100, 4), chunks=(1, 16, 2), dtype="float64", zarr_format=3)
    with pytest.raises(ValueError, match="chunks"):
        SpoolArray.open(tmp_path / "a")
