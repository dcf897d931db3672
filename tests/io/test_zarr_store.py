"""A store: what is written is read, what is counted is there, and nothing in it is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest

from sursum.draws import run_store
from sursum.errors import StorageError
from sursum.io.zarr_metadata import CHECKSUM, safe_names
from sursum.io.zarr_store import Column, DrawTable, ZarrStore
from sursum.posterior.posterior import Posterior

FLOAT, INT, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
COLUMNS = {"a/b '*": Column((2, 3), FLOAT), "count": Column((), INT), "flag": Column((2,), BOOL), "empty": Column((0,), FLOAT)}


def draws(length, seed=0):
    rng = np.random.default_rng(seed)
    kinds = {"f": lambda shape: rng.normal(size=shape), "i": lambda shape: rng.integers(-9, 9, shape)}
    kinds["b"] = lambda shape: rng.random(shape) < 0.5
    return {name: kinds[column.dtype.kind]((length, *column.shape)) for name, column in COLUMNS.items()}


@pytest.fixture
def store(tmp_path):
    with ZarrStore.creating(tmp_path / "x.zarr", "thing", 1, {"words": ["ü"]}) as store:
        store.add("sample", DrawTable(2, 2500, {"posterior": COLUMNS}))
    return ZarrStore.open(tmp_path / "x.zarr", "thing", 1)[0]


def test_what_is_appended_in_any_portions_is_read(store):
    whole = draws(2500)
    begin = 0
    for length in (1, 15, 1000, 1024, 460):
        store.append("sample", 1, {"posterior": {name: array[begin : begin + length] for name, array in whole.items()}})
        begin += length
        assert ZarrStore.open(store.path, "thing", 1)[0].counts("sample") == [0, begin]
        for name, array in whole.items():
            found = ZarrStore(store.path).read("sample", "posterior", name, [1], begin)
            assert (found.dtype, found.shape) == (array.dtype, (1, begin, *array.shape[1:]))
            np.testing.assert_array_equal(found[0], array[:begin])
    assert store.tables() == ["sample"]
    assert store.groups("sample") == {"posterior": list(COLUMNS)}


def test_a_chunk_of_zeros_is_a_chunk(store):
    zeros = {name: np.zeros_like(array) for name, array in draws(700).items()}
    store.append("sample", 0, {"posterior": zeros})
    np.testing.assert_array_equal(store.read("sample", "posterior", "flag", [0], 700)[0], zeros["flag"])


def test_a_store_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(LookupError), ZarrStore.creating(tmp_path / "x.zarr", "thing", 1, {}):
        raise LookupError
    assert list(tmp_path.iterdir()) == []
    message = r"' already exists, and a store is never overwritten\. Give a different path"
    with pytest.raises(StorageError, match=message), ZarrStore.creating(tmp_path, "thing", 1, {}):
        pass


def test_a_note_is_changed(store):
    store.note(happened="was stopped")
    assert ZarrStore.open(store.path, "thing", 1)[1] == {"words": ["ü"], "happened": "was stopped"}


def test_arrays_that_do_not_grow(store):
    arrays = {"y": np.arange(6.0).reshape(2, 3), "n": np.array(3), "../z": np.zeros(0)}
    store.put("observed_data", arrays, {"y": ("a", "b")})
    found = ZarrStore(store.path).get("observed_data")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert ZarrStore(store.path).get("constant_data") == {}


def test_names_of_folders_differ_and_lead_nowhere_else():
    names = ["a", "A", "a/b", "../up", "..", ".", "", "c", "zarr.json", "__x", "quote'\"", "line\nbreak", "ü", "0", "x" * 300]
    safe = list(safe_names([*names, "x" * 301]))
    assert len({name.casefold() for name in safe}) == len(names) + 1
    for name in safe:
        assert "/" not in name
        assert not name.startswith(".")
        assert len(name.encode()) < 255


def damaged(store):
    return pytest.raises(
        StorageError, match=r"x\.zarr' could not be read: .+ An intact store written by a run of sursum was expected\."
    )


def read(store):
    opened, _ = ZarrStore.open(store.path, "thing", 1)
    count = opened.counts("sample")[0]
    for group, names in opened.groups("sample").items():
        for name in names:
            opened.read("sample", group, name, [0], count)


def chunks(store, key):
    return sorted(file for file in (store.path / key / "c").rglob("*") if file.is_file())


def test_every_file_that_is_missing_or_cut_is_noticed(store):
    store.append("sample", 0, {"posterior": draws(1500)})
    read(store)
    copy = store.path.with_name("copy")
    shutil.copytree(store.path, copy)
    for file in sorted(copy.rglob("*")):
        relative = file.relative_to(copy)
        if not file.is_file() or relative.parts[:2] == ("posterior", "zarr.json") or relative.parts == ("counts", "zarr.json"):
            continue
        if relative.parts[0] == "synced":
            continue  # without it all that is counted is looked at: see test_what_was_not_synced_may_be_lost
        target = store.path / relative
        whole = target.read_bytes()
        if relative.parts[:3] != ("counts", "sample", "c"):  # a count that is missing is that of a chain that has not begun
            target.unlink()
            with damaged(store):
                read(store)
        for length in (0, len(whole) // 2, len(whole) - 1):
            target.write_bytes(whole[:length])
            if whole[:length].strip() != whole.strip():
                with damaged(store):
                    read(store)
        target.write_bytes(whole)
    read(store)


def test_a_flipped_bit_is_noticed(store):
    store.append("sample", 0, {"posterior": draws(1500)})
    for key in ("a%2Fb %27%2A", "count", "flag"):
        file = chunks(store, f"posterior/{key}")[0]
        whole = file.read_bytes()
        for place in (3, len(whole) // 2, len(whole) - 2):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with damaged(store):
                read(store)
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "is not the description of"),
        ("null", "is not the description of"),
        ("{}", "'attributes'"),
        ('{"zarr_format": 3, "node_type": "group", "attributes": {"kind": "other"}}', "it is not a thing of Zarr format 3"),
        ('{"zarr_format": 2, "attributes": {"kind": "thing", "version": 1, "note": {}}}', "it is not a thing of Zarr format 3"),
        (
            '{"zarr_format": 3, "attributes": {"kind": "thing", "version": 2, "note": {}}}',
            r"written by a later sursum \(format 2, this one reads 1\)",
        ),
    ],
)
def test_a_foreign_description(store, content, said):
    (store.path / "zarr.json").write_text(content)
    with pytest.raises(StorageError, match=f"could not be read: .*{said}"):
        ZarrStore.open(store.path, "thing", 1)


def edited(content, place):
    """A description with one thing changed, deep inside or not."""
    *way, last = place
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = {"float64": "int64", "little": "big", "int64": "float64", "/": "."}.get(str(inner[last]), [9, 9])
    return content


@pytest.mark.parametrize("array", ["posterior/count", "counts/sample"])
@pytest.mark.parametrize(
    "place",
    [
        ("data_type",),
        ("codecs", 0, "configuration", "endian"),
        ("chunk_key_encoding", "configuration", "separator"),
        ("shape",),
        ("chunk_grid", "configuration", "chunk_shape"),
        ("attributes", "name"),
    ],
)
def test_an_edited_description_is_not_read_as_other_numbers(store, array, place):
    store.append("sample", 0, {"posterior": draws(10)})
    file = store.path / array / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"].setdefault("name", "count")
    if place[-1] == "name" and array == "counts/sample":
        place = ("attributes", "groups", "posterior", "count")
    file.write_text(json.dumps(edited(content, place)))
    with pytest.raises(StorageError, match="has changed since it was written: its checksum does not match"):
        read(ZarrStore(store.path))


def test_an_edited_note_is_noticed(store):
    file = store.path / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["note"]["words"] = ["u"]
    file.write_text(json.dumps(content))
    with pytest.raises(StorageError, match="checksum does not match"):
        ZarrStore.open(store.path, "thing", 1)


def test_a_store_from_before_there_were_checksums_is_read(store):
    store.append("sample", 0, {"posterior": draws(10)})
    for file in store.path.rglob("zarr.json"):
        content = json.loads(file.read_text())
        content.get("attributes", {}).pop(CHECKSUM, None)
        file.write_text(json.dumps(content))
    assert ZarrStore.open(store.path, "thing", 1)[1] == {"words": ["ü"]}
    read(ZarrStore(store.path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("what", ["zarr.json", "posterior/count/zarr.json", "posterior/count/c/0/0"])
@pytest.mark.parametrize("device", ["/dev/zero", None])
def test_a_pipe_or_a_device_is_not_read_to_its_end(store, what, device):
    store.append("sample", 0, {"posterior": draws(10)})
    file = store.path / what
    file.unlink()
    if device is None:
        os.mkfifo(file)
    else:
        file.symlink_to(device)
    with pytest.raises(StorageError, match="it is a pipe or a device|is missing"):
        read(ZarrStore.open(store.path, "thing", 1)[0])


class Bomb:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_nothing_is_unpickled(store, tmp_path, monkeypatch):
    """Arrays of Zarr format 2 may hold pickles; one in the place of ours is refused, whatever its name."""
    monkeypatch.chdir(tmp_path)
    store.append("sample", 0, {"posterior": draws(10)})
    folder = store.path / "posterior" / "count"
    shutil.rmtree(folder)
    folder.mkdir()
    pickled = {"zarr_format": 2, "shape": [2, 2500], "chunks": [1, 1024], "dtype": "|O", "fill_value": None, "order": "C"}
    (folder / ".zarray").write_text(json.dumps(pickled | {"filters": [{"id": "pickle", "protocol": 5}], "compressor": None}))
    (folder / "0.0").write_bytes(pickle.dumps(Bomb()))
    with damaged(store):
        read(store)
    (folder / "c" / "0").mkdir(parents=True)
    (folder / "c" / "0" / "0").write_bytes(pickle.dumps(Bomb()))
    content = json.loads((store.path / "posterior" / "flag" / "zarr.json").read_text())
    del content["attributes"][CHECKSUM]  # as somebody would who means harm
    for changes in (
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"data_type": "object"},
        {"data_type": {"name": "variable_length_bytes"}},
        {"node_type": "group"},
    ):
        (folder / "zarr.json").write_text(json.dumps(content | changes))
        with damaged(store):
            read(store)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(StorageError, match=r"could not be read: it has no zarr\.json"):
        Posterior.load(tmp_path)
    with ZarrStore.creating(tmp_path / "x.zarr", run_store.KIND, 1, {}):
        pass
    with pytest.raises(StorageError, match="could not be read: it holds no draws"):
        Posterior.load(tmp_path / "x.zarr")
    with pytest.raises(FileNotFoundError):
        Posterior.load(tmp_path / "y.zarr")
