"""Arrays that grow, in a folder: a Zarr store (format 3), which any reader of Zarr opens, also while it is written.

    run.zarr/zarr.json            what it is: kind, version and a note
    run.zarr/<group>/<array>      (chain, draw, *shape), in chunks of one chain and some draws
    run.zarr/counts/<table>       (chain,), how many draws of each chain are complete in the groups of a table

A table is a set of groups that grow together. Chunks appear whole, by a rename, each with a checksum, and a table's count
goes up after its chunks are there; so what is counted can be read, whenever the writer was killed. Reading decodes
numbers and JSON, by Zarr's own codecs of a fixed list, and executes nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sursum.errors import SamplingError

CHUNK_BYTES = 1 << 20
MOST_DRAWS = 1024
COUNTS = "counts"
CODECS = {"bytes", "zstd", "crc32c"}


@dataclass(frozen=True)
class Column:
    """One array of a table: the shape and dtype of a draw, and names for the dimensions of the shape."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Groups of arrays that grow together, to `draws` of each of `chains`."""

    chains: int
    draws: int
    groups: Mapping[str, Mapping[str, Column]]


@dataclass(frozen=True, eq=False)
class ZarrStore:
    """A store that exists."""

    path: Path
    _arrays: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    # Writing.

    @classmethod
    @contextmanager
    def creating(cls, path: str | os.PathLike[str], kind: str, version: int, note: Mapping[str, Any]) -> Iterator[ZarrStore]:
        """A new store to be filled in a `with` block; it appears under its name when the block has ended well.

        Raises:
            SamplingError: something of that name is there already.
        """
        import zarr

        target = Path(path)
        if target.exists():
            raise SamplingError(
                f"{os.fspath(path)!r} is there already, and a store is never written over. Give another path, remove it, or "
                f"go on from it: `mcmc.extend(Posterior.load({os.fspath(path)!r}), …)`."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        attributes = {"kind": kind, "version": version, "note": dict(note)}
        try:
            zarr.create_group(store=str(temporary), zarr_format=3, attributes=attributes)
            zarr.create_group(store=str(temporary), path=COUNTS, zarr_format=3)
            yield cls(temporary)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def add(self, name: str, table: Table) -> None:
        """Make room for a table. Readers see it when all of it is there."""
        import zarr

        keys: dict[str, dict[str, str]] = {}
        for group, columns in table.groups.items():
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
        self._new(f"{COUNTS}/{name}", (table.chains,), (1,), np.dtype(np.int64), ("chain",), {"groups": keys})

    def append(self, name: str, chain: int, values: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Write the next draws of a chain: by group and name, (draw, *shape), all of the same number of draws."""
        counts = self._open(f"{COUNTS}/{name}", mode="r+")
        keys = counts.attrs["groups"]
        begin = int(counts[chain])
        (length,) = {len(array) for arrays in values.values() for array in arrays.values()}
        for group, arrays in values.items():
            for array_name, array in arrays.items():
                self._open(f"{group}/{keys[group][array_name]}", mode="r+")[chain, begin : begin + length] = array
        counts[chain] = begin + length

    def put(self, group: str, arrays: Mapping[str, NDArray[Any]], dims: Mapping[str, Sequence[str]]) -> None:
        """Write a group of whole arrays, which do not grow."""
        import zarr

        keys = dict(zip(arrays, safe_names(arrays), strict=True))
        zarr.create_group(store=str(self.path), path=group, zarr_format=3, attributes={"names": keys})
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
        file = self.path / "zarr.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["attributes"]["note"] |= changes
        temporary = file.with_name(f".zarr.json.{secrets.token_hex(4)}")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(file)

    # Reading.

    @classmethod
    def open(cls, path: str | os.PathLike[str], kind: str, version: int) -> tuple[ZarrStore, dict[str, Any]]:
        """A store and its note.

        Raises:
            SamplingError: there is something else, or a store of a later version.
            FileNotFoundError: there is nothing.
        """
        store = cls(Path(path))
        with _reading(path):
            file = store.path / "zarr.json"
            if not file.exists() and store.path.exists():
                raise ValueError("it has no zarr.json")
            content = json.loads(file.read_text(encoding="utf-8"))
            attributes = content["attributes"]
            if content["zarr_format"] != 3 or attributes["kind"] != kind:
                raise ValueError(f"it is no {kind} of Zarr format 3")
            if attributes["version"] > version:
                raise ValueError(f"it was written by a later sursum (format {attributes['version']}, this one reads {version})")
            return store, dict(attributes["note"])

    def tables(self) -> list[str]:
        """The names of the tables that are there."""
        return sorted(file.parent.name for file in (self.path / COUNTS).glob("*/zarr.json"))

    def groups(self, name: str) -> dict[str, list[str]]:
        """The arrays of each group of a table."""
        with _reading(self.path):
            keys = self._open(f"{COUNTS}/{name}").attrs["groups"]
            return {group: list(names) for group, names in keys.items()}

    def counts(self, name: str) -> list[int]:
        """How many draws of each chain are complete."""
        with _reading(self.path):
            return [int(count) for count in self._open(f"{COUNTS}/{name}")[:]]

    def read(self, name: str, group: str, array: str, chains: Sequence[int], draws: int) -> NDArray[Any]:
        """The first `draws` draws of some chains, (chain, draw, *shape); no more than are counted.

        Raises:
            SamplingError: chunks are missing or damaged.
        """
        with _reading(self.path):
            key = self._open(f"{COUNTS}/{name}").attrs["groups"][group][array]
            found = self._open(f"{group}/{key}")
            values = np.empty((len(chains), draws, *found.shape[2:]), dtype=found.dtype)
            if not values.size:
                return values
            for i, chain in enumerate(chains):
                # Zarr would read a chunk that is missing as zeros.
                for index in range(-(-draws // found.chunks[1])):
                    place = "/".join(map(str, (chain, index, *[0] * len(found.shape[2:]))))
                    if not (self.path / group / key / "c" / place).exists():
                        raise ValueError(f"chunk {place} of {array!r} in {group!r} is missing")
                values[i] = found[chain, :draws]
            return values

    def get(self, group: str) -> dict[str, NDArray[Any]]:
        """The arrays that `put` wrote; none where it did not write such a group."""
        file = self.path / group / "zarr.json"
        if not file.exists():
            return {}
        with _reading(self.path):
            keys = json.loads(file.read_text(encoding="utf-8"))["attributes"]["names"]
            return {name: np.asarray(self._open(f"{group}/{key}")[...]) for name, key in keys.items()}

    # Arrays.

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
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            dimension_names=dims,
            attributes=dict(attributes),
            zarr_format=3,
            config={"write_empty_chunks": True},
        )

    def _open(self, key: str, mode: str = "r") -> Any:
        """An array, kept open, once its description has been found harmless."""
        import zarr

        if (known := self._arrays.get(f"{mode}{key}")) is None:
            content = json.loads((self.path / key / "zarr.json").read_text(encoding="utf-8"))
            codecs = {codec["name"] for codec in content["codecs"]}
            if content["node_type"] != "array" or content["zarr_format"] != 3 or not codecs <= CODECS:
                raise ValueError(f"{key!r} is not an array of numbers of Zarr format 3")
            if not isinstance(content["data_type"], str) or np.dtype(content["data_type"]).kind not in "fiub":
                raise ValueError(f"{key!r} holds {content['data_type']!r}, no numbers")
            # A chunk of zeros is written like any other, so that one which is missing is noticed.
            with zarr.config.set({"array.write_empty_chunks": True}):
                known = zarr.open_array(store=str(self.path), path=key, mode=mode, zarr_format=3)
            self._arrays[f"{mode}{key}"] = known
        return known


class _reading:
    """Turns what damaged files do to a reader into one error that says so."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, FileNotFoundError) and not Path(self.path).exists():
            return
        if isinstance(error, Exception):
            raise SamplingError(
                f"{os.fspath(self.path)!r} could not be read: {error}. A whole store that a run of sursum wrote was expected. "
                "Give the path of another, or sample again."
            ) from error


def safe_names(names: Iterable[str]) -> Iterator[str]:
    """Names of folders, one for each name: alike where that is possible, and different also where case does not count.

    Example:
        >>> list(safe_names(["net.0.weight", "a/b", "..", "A/B"]))
        ['net.0.weight', 'a%2Fb', '%..', 'A%2FB%3']
    """
    taken: set[str] = set()
    for i, name in enumerate(names):
        safe = quote(name, safe="[] ")
        if safe.startswith((".", "__", "zarr.json")) or safe in ("", "c"):
            safe = f"%{safe}"
        if safe.casefold() in taken or len(safe) > 150:
            safe = f"{safe[:150]}%{i}"
        taken.add(safe.casefold())
        yield safe


def _size(column: Column) -> int:
    size = 1
    for length in column.shape:
        size *= length
    return size
