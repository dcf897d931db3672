"""Files: whole or not there, and read without executing anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from sursum.errors import StorageError
from sursum.io import npz


class Bomb:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "draws.npz"


ARRAYS = {
    "a/b '\n*/": np.arange(6.0).reshape(2, 3),
    "flag": np.array([True, False]),
    "scalar": np.array(3, dtype=np.int32),
    "nan": np.array([np.nan, np.inf, -0.0]),
    "empty": np.zeros((2, 0, 3)),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


def test_a_round_trip_keeps_every_bit(path):
    npz.write(path, "thing", 1, {"words": ["x"]}, ARRAYS)
    note, arrays = npz.read(path, "thing", 1)
    assert note == {"words": ["x"]}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_it_is_written_under_exactly_that_name_and_leaves_nothing_else(path):
    target = path.with_name("no suffix")
    npz.write(target, "thing", 1, {}, ARRAYS)
    assert [item.name for item in path.parent.iterdir()] == ["no suffix"]


def test_a_failure_keeps_the_old_file(path):
    npz.write(path, "thing", 1, {}, ARRAYS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        npz.write(path, "thing", 1, {}, {"x": np.array([Bomb()], dtype=object)})
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


def test_every_truncation_is_an_error(path):
    npz.write(path, "thing", 1, {}, ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=r"could not be read: .+ A whole thing file written by `save` was expected\."):
            npz.read(path, "thing", 1)


def test_a_flipped_bit_in_an_array_is_an_error(path):
    big = np.random.default_rng(0).normal(size=1000)
    npz.write(path, "thing", 1, {}, {"x": big})
    whole = bytearray(path.read_bytes())
    place = bytes(whole).index(big[500:].tobytes()[:64])
    whole[place] ^= 1
    path.write_bytes(whole)
    with pytest.raises(StorageError, match="Bad CRC-32"):
        npz.read(path, "thing", 1)


def test_foreign_files(path):
    path.write_text("name,value\n")
    with pytest.raises(StorageError, match="not a zip file"):
        npz.read(path, "thing", 1)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(StorageError, match=r"There is no item named 'header\.npy'"):
        npz.read(path, "thing", 1)
    npz.write(path, "other", 1, {}, {})
    with pytest.raises(StorageError, match="it holds a 'other'"):
        npz.read(path, "thing", 1)
    npz.write(path, "thing", 2, {}, {})
    with pytest.raises(StorageError, match="written by a later sursum"):
        npz.read(path, "thing", 1)


def test_a_header_that_is_something_else(path):
    for header in (b"[1, 2]", b"null", b"{}", b'{"kind": "thing", "version": 1, "names": 3, "note": {}}', b"\xff"):
        member = io.BytesIO()
        np.lib.format.write_array(member, np.frombuffer(header, dtype=np.uint8))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.npy", member.getvalue())
        with pytest.raises(StorageError, match="could not be read"):
            npz.read(path, "thing", 1)


def test_nothing_is_unpickled(path):
    member = io.BytesIO()
    np.lib.format.write_array(member, np.array([Bomb()], dtype=object), allow_pickle=True)
    header = json.dumps({"kind": "thing", "version": 1, "names": ["x"], "note": {}}).encode()
    text = io.BytesIO()
    np.lib.format.write_array(text, np.frombuffer(header, dtype=np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.npy", member.getvalue())
        archive.writestr("header.npy", text.getvalue())
    with pytest.raises(StorageError, match="Object arrays cannot be loaded"):
        npz.read(path, "thing", 1)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(StorageError, match="not a zip file"):
        npz.read(path, "thing", 1)
    assert not (path.parent / "exploded").exists()


def test_no_file(path):
    with pytest.raises(FileNotFoundError):
        npz.read(path, "thing", 1)


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def member(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def header(names=("x",), note=None):
    said = {"kind": "thing", "version": 1, "names": list(names), "note": note or {}}
    return member(np.frombuffer(json.dumps(said).encode(), dtype=np.uint8))


def test_a_bomb_is_refused_by_the_size_that_it_declares(path):
    """Two megabytes that unpack to two thousand: nothing of it is unpacked."""
    archive(path, {"header.npy": header(), "0.npy": member(np.zeros(1_000_000))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(StorageError, match=r"it declares 8000\d+ bytes of arrays, but has \d{4,5}"):
        npz.read(path, "thing", 1)


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (3,), (2**62, 4), (0,)])
def test_an_array_that_claims_another_shape_gets_no_memory(path, shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    archive(path, {"header.npy": header(), "0.npy": content.getvalue() + bytes(16)})
    with pytest.raises(StorageError, match="array 0 has 16 bytes, which does not match its shape"):
        npz.read(path, "thing", 1)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"kind": "thing", "version": "1", "names": [], "note": {}}', '{"kind": "thing"}', "1e999", ""]
)
def test_a_header_that_no_writer_writes(path, text):
    archive(path, {"header.npy": member(np.frombuffer(text.encode(), dtype=np.uint8))})
    with pytest.raises(StorageError, match="could not be read"):
        npz.read(path, "thing", 1)


def test_arrays_of_a_later_format_of_numpy(path):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros(1, dtype=[("ü", "f8")]), version=(3, 0))
    archive(path, {"header.npy": header(), "0.npy": content.getvalue()})
    with pytest.raises(StorageError, match="NumPy's format"):
        npz.read(path, "thing", 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_a_device_is_not_waited_for(path):
    os.mkfifo(path)
    for name in (path, "/dev/zero"):
        with pytest.raises(StorageError, match="it is a pipe or a device. A thing file written by `save` was expected"):
            npz.read(name, "thing", 1)
