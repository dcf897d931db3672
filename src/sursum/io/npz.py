"""Arrays in one file, with a word about what they are: NumPy's `.npz` without pickles.

`.npz` is a ZIP of plain arrays: it needs nothing but NumPy, keeps every bit and dtype, has a checksum on each array,
and reading it with pickles switched off executes nothing. Names of arrays are kept in a JSON text beside them, so that
a name may hold any character.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.errors import StorageError
from sursum.io.files import atomically, interpreting, reading, writing

HEADER = "header"
FOREIGN = frozenset(
    {".nc", ".pkl", ".pickle", ".pt", ".pth", ".csv", ".json", ".h5", ".hdf5", ".zarr", ".safetensors", ".parquet"}
)
"""Ends of names that say of what kind a file is, and not of ours."""


def write(path: str | os.PathLike[str], kind: str, version: int, note: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON-able `note` to `path`, all or nothing.

    The file appears under its name only when it is whole and on the disk: it is written beside it and renamed.

    Raises:
        StorageError: the file system refuses; what was at `path` is as it was.
    """
    header = {"kind": kind, "version": version, "names": list(arrays), "note": dict(note)}
    with (
        writing(path, "What was there is as it was"),
        atomically(path) as made,
        open(made, "xb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        _add(archive, HEADER, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
        for i, array in enumerate(arrays.values()):
            _add(archive, str(i), np.asarray(array))


def read(path: str | os.PathLike[str], kind: str, version: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The note and the arrays of a file that `write` made.

    Raises:
        MissingFileError: there is none.
        StorageError: the file is not whole, of another kind, or of a later version, or the file system refuses.
    """
    expected = f"a {kind} file written by `save`"
    with reading(path, expected):
        opened = open(path, "rb")  # noqa: SIM115 - closed below: only what opening says is of the file system
    with opened as file, interpreting(path, f"a whole {kind} file written by `save`"), zipfile.ZipFile(file) as archive:
        _check_sizes(archive, os.fstat(file.fileno()).st_size)
        header = json.loads(bytes(_member(archive, HEADER)))
        if header["kind"] != kind:
            raise ValueError(f"it holds a {header['kind']!r}")
        if header["version"] > version:
            raise ValueError(f"it was written by a later sursum (format {header['version']}, this one reads {version})")
        names: list[str] = header["names"]
        return header["note"], {name: _member(archive, str(i)) for i, name in enumerate(names)}


def check_suffix(path: str | os.PathLike[str], instead: Mapping[str, str]) -> None:
    """That `path` does not end as the path of a file of another kind, for which others would take it.

    Args:
        instead: what to do, by suffix.

    Raises:
        StorageError: it does.
    """
    suffix = Path(path).suffix
    if suffix in instead or suffix in FOREIGN:
        what = f"; for {suffix} {instead[suffix]}" if suffix in instead else ""
        raise StorageError(
            f"{os.fspath(path)!r} would be a file of NumPy's format .npz under a name that says another. A name that ends in "
            f".npz, or in nothing known, was expected{what}."
        )


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """That the arrays are as large as the file: what `write` writes is not compressed, and a bomb declares far more.

    Raises:
        ValueError: they are larger.
    """
    declared = sum(member.file_size for member in archive.infolist())
    if declared > size:
        raise ValueError(f"it declares {declared} bytes of arrays, and has {size}")


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array, read to its end so that its checksum is verified.

    Raises:
        ValueError: it is not as long as its shape says, which is looked at before there is memory for it.
    """
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise ValueError(f"array {name} is of NumPy's format {version}")
        shape, _, dtype = _HEADERS[version](member)
        long = archive.getinfo(f"{name}.npy").file_size - member.tell()
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != long:
            raise ValueError(f"array {name} has {long} bytes where its shape {shape} of {dtype} says otherwise")
        member.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)
    return array


_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
