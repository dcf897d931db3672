"""Growing arrays in a folder: a Zarr store (format 3), which any Zarr reader can open, also while it is written.

    run.zarr/zarr.json            metadata: kind, version and a note
    run.zarr/<group>/<array>      (chain, draw, *shape), in chunks of one chain and some draws
    run.zarr/counts/<table>       (chain,), the number of complete draws of each chain in the groups of a table
    run.zarr/synced/<table>       (chain,), how many of these are on disk, and survive a power cut

A table is a set of groups that grow together. Chunks appear atomically, by a rename, each with a checksum, and the count of
a table is increased after its chunks exist; so counted draws can be read even if the writer was killed. After a power cut files
that had not been synced may be missing or empty: `sound` does not count those. Reading decodes numbers and JSON, with a fixed
list of Zarr's own codecs, and executes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.errors import StorageError
from sursum.io.files import atomically, interpreting, reading, sync, writing
from sursum.io.zarr_chunks import LEVEL, ChunkWriter
from sursum.io.zarr_metadata import describe, description, safe_names, seal

CHUNK_BYTES = 1 << 20
MOST_DRAWS = 1024
COUNTS = "counts"
SYNCED = "synced"
EXPECTED = "an intact store written by a run of sursum"
CODECS = {"bytes", "zstd", "crc32c"}


@dataclass(frozen=True)
class Column:
    """One array of a table: the shape and dtype of a draw, and names of its dimensions."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: Sequence[str] = ()


@dataclass(frozen=True)
class DrawTable:
    """Groups of arrays that grow together, to `draws` of each of `chains`."""

    chains: int
    draws: int
    groups: Mapping[str, Mapping[str, Column]]


@dataclass(frozen=True, eq=False)
class ZarrStore:
    """An existing store."""

    path: Path
    _arrays: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _writers: dict[str, ChunkWriter] = field(default_factory=dict, init=False, repr=False)
    _unsynced: set[Path] = field(default_factory=set, init=False, repr=False)

    # Writing.

    @classmethod
    @contextmanager
    def creating(cls, path: str | os.PathLike[str], kind: str, version: int, note: Mapping[str, Any]) -> Iterator[ZarrStore]:
        """A new store to be filled in a `with` block; it appears under its name when the block ends without an error.

        Raises:
            StorageError: something of that name is there already.
            MissingPackageError: zarr is not installed.
        """
        zarr = require("zarr", "A store")
        target = Path(path)
        if os.path.lexists(target):
            raise StorageError(
                f"{os.fspath(path)!r} already exists, and a store is never overwritten. Give a different path, remove it, or "
                f"continue from it: `mcmc.extend(Posterior.load({os.fspath(path)!r}), …)`."
            )
        attributes = {"kind": kind, "version": version, "note": dict(note)}
        with writing(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomically(target) as made:
                zarr.create_group(store=str(made), zarr_format=3, attributes=attributes)
                seal(made)
                for group in (COUNTS, SYNCED):
                    zarr.create_group(store=str(made), path=group, zarr_format=3)
                yield cls(made)

    def add(self, name: str, table: DrawTable, note: Mapping[str, Any] | None = None) -> None:
        """Create a table. Readers see it, and its entries in `note`, when it is complete."""
        with writing(self.path, "The contents of the store are unchanged"):
            self._add(name, table, note)

    def _add(self, name: str, table: DrawTable, note: Mapping[str, Any] | None) -> None:
        import zarr

        keys: dict[str, dict[str, str]] = {}
        for group, columns in table.groups.items():
            if not self.has(group) and (self.path / group).exists():
                shutil.rmtree(self.path / group)  # left by a writer that was killed
            if not (self.path / group / "zarr.json").exists():
                zarr.create_group(store=str(self.path), path=group, zarr_format=3)
            keys[group] = dict(zip(columns, safe_names(columns), strict=True))
            for column_name, column in columns.items():
                rows = max(1, min(MOST_DRAWS, table.draws, CHUNK_BYTES // max(1, column.dtype.itemsize * _size(column))))
                self._new(
                    f"{group}/{keys[group][column_name]}",
                    (table.chains, table.draws, *column.shape),
                    (1, rows, *column.shape),
                    column.dtype,
                    ("chain", "draw", *column.dims) if len(column.dims) == len(column.shape) else None,
                    {"name": column_name},
                )
        if (self.path / SYNCED / "zarr.json").exists():
            self._new(f"{SYNCED}/{name}", (table.chains,), (1,), np.dtype(np.int64), ("chain",), {})
        self._new(f"{COUNTS}/{name}", (table.chains,), (1,), np.dtype(np.int64), ("chain",), {"groups": keys, **(note or {})})

    def append(self, name: str, chain: int, values: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Write the next draws of a chain: by group and name, (draw, *shape), all of the same number of draws."""
        with writing(self.path, "The draws that were already stored are intact"):
            counts = self._writer(f"{COUNTS}/{name}")
            keys = counts.array.attrs["groups"]
            begin = int(counts.array[chain])
            (length,) = {len(array) for arrays in values.values() for array in arrays.values()}
            for group, arrays in values.items():
                for array_name, array in arrays.items():
                    key = f"{group}/{keys[group][array_name]}"
                    self._unsynced.update(self._writer(key).write(chain, begin, array))
            counts.array[chain] = begin + length

    def sync(self, name: str) -> None:
        """Flush the counted draws of a table to disk, and record that in the store.

        A synced file need not be written again until it changes: the cost is that of the files changed since the last sync.
        """
        with writing(self.path, "The draws that were already stored are intact"):
            files = {file for file in self._unsynced if file.exists()}
            folders = {parent for file in files for parent in file.relative_to(self.path).parents}
            counts = self._open(f"{COUNTS}/{name}")[...]
            for file in (*files, *(self.path / folder for folder in folders)):
                sync(file)
            self._unsynced.clear()
            if (self.path / SYNCED / name / "zarr.json").exists():
                self._open(f"{SYNCED}/{name}", mode="r+")[...] = counts
                for kind in (SYNCED, COUNTS):
                    for file in (self.path / kind / name).rglob("*"):
                        sync(file)

    def put(self, group: str, arrays: Mapping[str, NDArray[Any]], dims: Mapping[str, Sequence[str]]) -> None:
        """Write a group of complete arrays, which do not grow."""
        with writing(self.path, "The contents of the store are unchanged"):
            self._put(group, arrays, dims)

    def _put(self, group: str, arrays: Mapping[str, NDArray[Any]], dims: Mapping[str, Sequence[str]]) -> None:
        import zarr

        keys = dict(zip(arrays, safe_names(arrays), strict=True))
        zarr.create_group(store=str(self.path), path=group, zarr_format=3, attributes={"names": keys})
        seal(self.path / group)
        for name, array in arrays.items():
            named = dims.get(name, ())
            self._new(
                f"{group}/{keys[name]}",
                array.shape,
                array.shape,
                array.dtype,
                tuple(named) if len(named) == array.ndim else None,
                {"name": name},
            )
            self._open(f"{group}/{keys[name]}", mode="r+")[...] = array

    def note(self, **changes: Any) -> None:
        """Change entries of the note, all or nothing."""
        with writing(self.path, "The draws that were already stored are intact"):
            content = description(self.path)
            content["attributes"]["note"] |= changes
            describe(self.path, content)

    # Reading.

    @classmethod
    def open(cls, path: str | os.PathLike[str], kind: str, version: int) -> tuple[ZarrStore, dict[str, Any]]:
        """A store and its note.

        Raises:
            MissingFileError: the store does not exist.
            StorageError: the path is something else, or a store of a later version.
            MissingPackageError: zarr is not installed.
        """
        store = cls(Path(path))
        with _explain_damage(path):
            file = store.path / "zarr.json"
            if not file.exists() and store.path.exists():
                raise ValueError("it has no zarr.json")
            content = description(store.path)
            attributes = content["attributes"]
            if content["zarr_format"] != 3 or attributes["kind"] != kind:
                raise ValueError(f"it is not a {kind} of Zarr format 3")
            if attributes["version"] > version:
                raise ValueError(f"it was written by a later sursum (format {attributes['version']}, this one reads {version})")
        require("zarr", "A store")
        return store, dict(attributes["note"])

    def tables(self) -> list[str]:
        """The names of the tables."""
        return sorted(file.parent.name for file in (self.path / COUNTS).glob("*/zarr.json"))

    def groups(self, name: str) -> dict[str, list[str]]:
        """The arrays of each group of a table."""
        with _explain_damage(self.path):
            keys = self._open(f"{COUNTS}/{name}").attrs["groups"]
            return {group: list(names) for group, names in keys.items()}

    def has(self, group: str) -> bool:
        """Whether a group exists, in a table or as complete arrays."""
        if any(group in self.groups(name) for name in self.tables()):
            return True
        file = self.path / group / "zarr.json"
        with _explain_damage(self.path):
            return file.exists() and "names" in description(file.parent).get("attributes", {})

    def told(self, name: str) -> dict[str, Any]:
        """The note given for a table when it was added."""
        with _explain_damage(self.path):
            return {key: value for key, value in self._open(f"{COUNTS}/{name}").attrs.items() if key != "groups"}

    def asked(self, name: str) -> tuple[int, int]:
        """The number of chains in a table, and the number of draws of each."""
        with _explain_damage(self.path):
            group, keys = next(iter(self._open(f"{COUNTS}/{name}").attrs["groups"].items()))
            chains, draws = self._open(f"{group}/{next(iter(keys.values()))}").shape[:2]
            return int(chains), int(draws)

    def counts(self, name: str) -> list[int]:
        """The number of complete draws of each chain."""
        with _explain_damage(self.path):
            return [int(count) for count in self._open(f"{COUNTS}/{name}")[:]]

    def read(self, name: str, group: str, array: str, chains: Sequence[int], draws: int, begin: int = 0) -> NDArray[Any]:
        """The draws from `begin` to `draws` of some chains, (chain, draw, *shape); at most the counted ones.

        Raises:
            StorageError: chunks are missing or damaged.
        """
        with _explain_damage(self.path):
            key = self._key(name, group, array)
            found = self._open(key)
            values = np.empty((len(chains), draws - begin, *found.shape[2:]), dtype=found.dtype)
            if not values.size:
                return values
            for i, chain in enumerate(chains):
                # Zarr would read a missing chunk as zeros.
                for file in self._chunks(key, chain, begin, draws):
                    if not file.is_file():
                        raise ValueError(
                            f"chunk {file.relative_to(self.path / key / 'c')} of {array!r} in {group!r} is missing"
                        )
                values[i] = found[chain, begin:draws]
            return values

    def column(self, name: str, group: str, array: str) -> Column:
        """The shape and dtype of a draw of an array."""
        with _explain_damage(self.path):
            found = self._open(self._key(name, group, array))
            return Column(tuple(found.shape[2:]), found.dtype)

    def sound(self, name: str) -> tuple[list[int], bool]:
        """The number of intact draws of each chain of a table, and whether a power cut has lost any.

        Draws that were counted but not synced are checked; if some of them are missing or damaged, only synced ones count.
        """
        if not (self.path / SYNCED).exists():
            return self.counts(name), False  # written before syncing was introduced
        try:
            with _explain_damage(self.path):
                synced = [int(count) for count in self._open(f"{SYNCED}/{name}")[...]]
        except StorageError:
            synced = [0] * len(self.counts(name))
        try:
            counts = self.counts(name)
            if any(count < least for count, least in zip(counts, synced, strict=True)):
                return synced, True
            for group, arrays in self.groups(name).items():
                for array in arrays:
                    for chain, (begin, end) in enumerate(zip(synced, counts, strict=True)):
                        for first in range(begin, end, MOST_DRAWS):
                            self.read(name, group, array, [chain], min(first + MOST_DRAWS, end), first)
        except StorageError:
            if not any(synced):
                raise
            return synced, True
        return counts, False

    def get(self, group: str) -> dict[str, NDArray[Any]]:
        """The arrays written by `put`; empty if it did not write this group."""
        file = self.path / group / "zarr.json"
        if not file.exists():
            return {}
        with _explain_damage(self.path):
            keys = description(file.parent)["attributes"]["names"]
            return {name: np.asarray(self._open(f"{group}/{key}")[...]) for name, key in keys.items()}

    # Arrays.

    def _key(self, name: str, group: str, array: str) -> str:
        """The path of an array of a table."""
        return f"{group}/{self._open(f'{COUNTS}/{name}').attrs['groups'][group][array]}"

    def _chunks(self, key: str, chain: int, begin: int, end: int) -> Iterator[Path]:
        """The files that contain draws `begin` to `end` of a chain."""
        array = self._open(key)
        rest = [0] * (len(array.shape) - 2)
        if 0 not in array.shape:
            for index in range(begin // array.chunks[1], -(-end // array.chunks[1])):
                yield self.path.joinpath(key, "c", *map(str, (chain, index, *rest)))

    def _new(
        self,
        key: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: np.dtype[Any],
        dims: Sequence[str] | None,
        attributes: Mapping[str, Any],
    ) -> None:
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        zarr.create_array(
            store=str(self.path),
            name=key,
            shape=shape,
            chunks=tuple(max(1, n) for n in chunks),
            dtype=dtype,
            fill_value=0,
            compressors=[ZstdCodec(level=LEVEL), Crc32cCodec()],
            dimension_names=dims,
            attributes=dict(attributes),
            zarr_format=3,
            config={"write_empty_chunks": True},
        )
        seal(self.path / key)

    def _writer(self, key: str) -> ChunkWriter:
        if (known := self._writers.get(key)) is None:
            known = self._writers[key] = ChunkWriter(self.path / key, self._open(key, mode="r+"))
        return known

    def _open(self, key: str, mode: str = "r") -> Any:
        """An array, kept open, after its metadata has been validated."""
        import zarr

        if (known := self._arrays.get(f"{mode}{key}")) is None:
            content = description(self.path / key)
            codecs = {codec["name"] for codec in content["codecs"]}
            if content["node_type"] != "array" or content["zarr_format"] != 3 or not codecs <= CODECS:
                raise ValueError(f"{key!r} is not an array of numbers of Zarr format 3")
            if not isinstance(content["data_type"], str) or np.dtype(content["data_type"]).kind not in "fiub":
                raise ValueError(f"{key!r} holds {content['data_type']!r}, not numbers")
            # A chunk of zeros is written like any other, so that a missing one is detected.
            with zarr.config.set({"array.write_empty_chunks": True}):
                known = zarr.open_array(store=str(self.path), path=key, mode=mode, zarr_format=3)
            self._arrays[f"{mode}{key}"] = known
        return known


class _explain_damage:
    """Converts the various errors of reading damaged files into one error that says so."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and not (isinstance(error, FileNotFoundError) and os.path.exists(self.path)):
            with reading(self.path, EXPECTED):
                raise error
        with interpreting(self.path, EXPECTED):
            if error is not None:
                raise error


def _size(column: Column) -> int:
    size = 1
    for length in column.shape:
        size *= length
    return size
