"""What the file system refuses is said in our words: what happened, what was expected, what to do, and what is left."""

from __future__ import annotations

import errno
import os
import re

import numpy as np
import pytest
import torch

import sursum as su
from sursum.errors import MissingFileError, StorageError, SursumError
from sursum.io import files, npz
from sursum.io.zarr_store import Column, DrawTable, ZarrStore
from sursum.posterior.posterior import Posterior

WHOLE = r" could not be read: .+ (An intact store written by a run of sursum|A whole .* file written by `save`) was expected\."


def posterior():
    q = np.arange(6.0).reshape(1, 6, 1)
    return Posterior({"s": torch.from_numpy(q[..., 0])}, {}, q)


def store(path, draws=100):
    with ZarrStore.creating(path, "thing", 1, {}) as made:
        made.add("sample", DrawTable(1, draws, {"posterior": {"s": Column((), np.dtype(np.float64))}}))
    return ZarrStore(path)


def refusing(monkeypatch, number, name="fsync"):
    """The system refuses one of its calls, as it does on a full disk or without rights."""

    def refused(*args, **kwargs):
        raise OSError(number, os.strerror(number), "/a/name/of/ours")

    monkeypatch.setattr(files.os if name == "fsync" else os, name, refused)


def test_a_path_at_which_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = (
        r"^'gone\.npz' does not exist: it is not in '\.', and a sursum posterior file written by `save` "
        rf"was expected\. Give its path; a relative path starts at '{re.escape(str(tmp_path))}'\.$"
    )
    with pytest.raises(MissingFileError, match=message):
        Posterior.load("gone.npz")
    with pytest.raises(FileNotFoundError, match=r"the folder 'no/such' does not exist"):
        Posterior.load("no/such/run.npz")
    with pytest.raises(
        MissingFileError, match=r"'gone\.zarr' does not exist.* an intact store written by a run of sursum was expected"
    ):
        ZarrStore.open("gone.zarr", "thing", 1)


def test_a_folder_to_write_to_that_is_not_there(tmp_path):
    message = r"'.*run\.npz' could not be written: the folder '.*gone' does not exist\. Create"
    with pytest.raises(MissingFileError, match=message):
        posterior().save(tmp_path / "gone" / "run.npz")
    assert list(tmp_path.iterdir()) == []


def test_names_that_cannot_be_files(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"folder' could not be written: is a directory\. An existing file is unchanged\. It is a folder"
    ):
        posterior().save(tmp_path / "folder")
    with pytest.raises(StorageError, match=r"x\.npz' could not be written: .*(A parent of the path is a file|does not exist)"):
        posterior().save(tmp_path / "file" / "x.npz")
    with pytest.raises(StorageError, match="could not be written: file name too long"):
        posterior().save(tmp_path / ("x" * 300))
    with pytest.raises(StorageError, match=r"could not be read: not a directory\. .*A parent of the path is a file"):
        Posterior.load(tmp_path / "file" / "x.npz")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


def test_no_rights(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    posterior().save(path)

    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refused)
    message = r"run\.npz' could not be read: permission denied\. A sursum posterior file written by `save` was expected\. Give"
    with pytest.raises(StorageError, match=message):
        Posterior.load(path)
    with pytest.raises(
        StorageError, match=r"could not be written: permission denied\. An existing file is unchanged\. Give a path for which"
    ):
        posterior().save(path)


def test_a_store_without_rights(tmp_path, monkeypatch):
    made = store(tmp_path / "x.zarr")

    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", "zarr.json")

    monkeypatch.setattr("pathlib.Path.read_text", refused)
    with pytest.raises(
        StorageError, match=r"x\.zarr' could not be read: permission denied\. An intact store .* Give a path for which you"
    ):
        ZarrStore.open(made.path, "thing", 1)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "no space left on device. An existing file is unchanged. The disk is full: free"),
        (errno.EDQUOT, "The disk quota is exhausted"),
        (errno.EROFS, "Its file system is read-only: give a path on a different"),
        (errno.EIO, "input/output error. An existing file is unchanged. Give a different path"),
    ],
)
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, number, remedy):
    path = tmp_path / "run.npz"
    posterior().save(path)
    before = path.read_bytes()
    refusing(monkeypatch, number)
    with pytest.raises(StorageError, match=re.escape(remedy)) as raised:
        posterior().save(path)
    assert "/a/name/of/ours" not in str(raised.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_under_a_store(tmp_path, monkeypatch):
    made = store(tmp_path / "x.zarr")
    made.append("sample", 0, {"posterior": {"s": np.arange(10.0)}})
    with monkeypatch.context() as patch:

        def refused(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr("pathlib.Path.replace", refused)
        message = r"x\.zarr' could not be written: no space left on device\. The draws that were already stored are intact"
        with pytest.raises(StorageError, match=message):
            made.append("sample", 0, {"posterior": {"s": np.arange(10.0)}})
        with pytest.raises(StorageError, match="no space left on device"):
            made.note(happened="was stopped")
        with pytest.raises(StorageError, match=r"y\.zarr' could not be written: no space left on device\. Nothing was written"):
            store(tmp_path / "y.zarr")
    opened = ZarrStore.open(made.path, "thing", 1)[0]
    assert opened.counts("sample") == [10]
    np.testing.assert_array_equal(opened.read("sample", "posterior", "s", [0], 10)[0], np.arange(10.0))
    assert not (tmp_path / "y.zarr").exists()


def test_these_are_the_errors_of_a_damaged_file_too(tmp_path):
    """Who catches StorageError or OSError catches them, and who catches the errors of a sampler does not."""
    (tmp_path / "x.npz").write_text("no ZIP")
    (tmp_path / "x.zarr").mkdir()
    for name in ("x.npz", "x.zarr"):
        for kind in (StorageError, OSError):
            with pytest.raises(kind, match=WHOLE):
                Posterior.load(tmp_path / name)
    with pytest.raises(StorageError):
        npz.read(tmp_path / "x.npz", "thing", 1)


def leaves(value, way=()):
    """Where in a JSON value something else could stand."""
    yield way
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, (*way, key))


def put(value, way, other):
    if not way:
        return other
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[way[0]] = put(value[way[0]], way[1:], other)
    return changed


@pytest.mark.parametrize("other", [None, 3, -1.5, "text", [], {}, [[]], {"a": 1}, ["s", "s"], 10**30], ids=repr)
def test_a_file_that_says_what_no_writer_says(tmp_path, other):
    """Whatever stands in the note: it is the posterior that was saved, or a StorageError."""
    path = tmp_path / "run.npz"
    q = np.arange(6.0).reshape(1, 6, 1)
    saved = Posterior({"s": torch.from_numpy(q[..., 0])}, {}, q, latents=("s",), coordinates=("s",), dims={"s": ()})
    saved.save(path)
    note, arrays = npz.read(path, "sursum posterior", 10)
    for way in [*leaves(note)][1:]:
        npz.write(path, "sursum posterior", 1, put(note, way, other), arrays)
        try:
            found = Posterior.load(path)
        except StorageError:
            continue
        except (SursumError, ValueError) as error:
            pytest.fail(f"{way}: {error!r}")
        assert set(found) <= {"s"}
        assert str(found.summary())
        repr(found)


def test_what_was_not_synced_may_be_lost(tmp_path):
    """A power cut: files that were not synced are empty or gone, and what was synced is read."""
    made = store(tmp_path / "x.zarr")
    made.append("sample", 0, {"posterior": {"s": np.arange(40.0)}})
    made.sync("sample")
    made.append("sample", 0, {"posterior": {"s": np.arange(40.0, 100.0)}})
    assert made.sound("sample") == ([100], False)
    whole = {file: file.read_bytes() for file in made.path.rglob("*") if file.is_file()}
    counts = made.path / "counts" / "sample" / "c" / "0"
    for damage in (lambda: counts.write_bytes(b""), counts.unlink):
        damage()
        assert ZarrStore.open(made.path, "thing", 1)[0].sound("sample") == ([40], True)
        counts.write_bytes(whole[counts])
    # With the mark of what was synced gone, everything is looked at.
    mark = made.path / "synced" / "sample" / "c" / "0"
    mark.write_bytes(b"")
    assert ZarrStore.open(made.path, "thing", 1)[0].sound("sample") == ([100], False)


@pytest.mark.parametrize("left", [b"", None, b"\0" * 100])
def test_a_power_cut_costs_the_chunks_that_were_not_synced(tmp_path, left):
    made = store(tmp_path / "x.zarr", 5000)
    draws = np.arange(5000.0)
    made.append("sample", 0, {"posterior": {"s": draws[:2048]}})
    made.sync("sample")
    made.append("sample", 0, {"posterior": {"s": draws[2048:]}})
    chunk = made.path / "posterior" / "s" / "c" / "0" / "3"
    chunk.unlink() if left is None else chunk.write_bytes(left)
    found, lost = ZarrStore.open(made.path, "thing", 1)[0].sound("sample")
    assert (found, lost) == ([2048], True)
    np.testing.assert_array_equal(made.read("sample", "posterior", "s", [0], 2048)[0], draws[:2048])
    # What is missing of what was synced is damage, and no power cut.
    (made.path / "posterior" / "s" / "c" / "0" / "1").unlink()
    assert ZarrStore.open(made.path, "thing", 1)[0].sound("sample") == ([2048], True)
    with pytest.raises(StorageError, match="chunk 0/1 of 's' in 'posterior' is missing"):
        made.read("sample", "posterior", "s", [0], 2048)


def test_only_what_changed_is_synced(tmp_path, monkeypatch):
    made = store(tmp_path / "x.zarr")
    synced = []
    monkeypatch.setattr("sursum.io.zarr_store.sync", lambda path: synced.append(os.fspath(path)))
    made.append("sample", 0, {"posterior": {"s": np.arange(10.0)}})
    made.sync("sample")
    chunk = str(made.path / "posterior" / "s" / "c" / "0" / "0")
    assert chunk in synced
    assert os.path.dirname(chunk) in synced  # the folder, for the file's name
    assert (
        str(made.path / "counts" / "sample" / "c" / "0") == [path for path in synced if "counts" in path and "c/0" in path][-1]
    )
    synced.clear()
    made.sync("sample")
    assert chunk not in synced


def test_the_cause_of_a_failed_run_is_told_though_the_store_cannot_be_closed(tmp_path, monkeypatch):
    """And nobody waits for ever."""
    import sursum.distributions as dist
    from sursum.mcmc.recording import StoreRecorder

    def refused(*args):
        raise StorageError("the disk is full")

    model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
    settings = {"num_warmup": 50, "num_samples": 20, "num_chains": 1, "seed": 0, "progress": False}
    for patched in ("close", "collect"):
        with monkeypatch.context() as patch:
            patch.setattr(StoreRecorder, patched, refused)
            run = su.infer.MCMC(su.infer.NUTS(model), store=tmp_path / patched, **settings).start()
            assert run.wait(60)
            assert run.state == "failed"
            with pytest.raises(StorageError, match="the disk is full"):
                run.result()


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_whole_or_not_at_all(tmp_path, durable, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, b"first", durable=durable)
    assert path.read_bytes() == b"first"

    def broken(made, target):
        assert files.Path(made).read_bytes() == b"second"  # whole, before it has its name
        assert path.read_bytes() == b"first"
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", broken)
        with pytest.raises(OSError, match="broken"):
            files.write_atomically(path, b"second", durable=durable)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    files.write_atomically(path, b"second", durable=durable)
    assert path.read_bytes() == b"second"


def test_only_what_is_durable_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", lambda path: synced.append(os.path.basename(path)))
    files.write_atomically(tmp_path / "file", b"", durable=False)
    assert synced == []
    files.write_atomically(tmp_path / "file", b"")
    assert [name.rpartition(".")[0] or name for name in synced] == [".file", tmp_path.name]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "folder"
    with files.atomically(path) as made:
        made.mkdir()
        (made / "file").write_text("x")
        assert not path.exists()
    assert (path / "file").read_text() == "x"


def test_nothing_is_left_of_a_folder_that_is_not_finished(tmp_path):
    def begin():
        with files.atomically(tmp_path / "folder") as made:
            made.mkdir()
            (made / "file").write_text("x")
            raise KeyError

    with pytest.raises(KeyError):
        begin()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_a_file_has_the_rights_that_are_given_less_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_atomically(tmp_path / "program", b"", mode=0o777)
        files.write_atomically(tmp_path / "private", b"", mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "program").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
