"""Arrays in one file, with metadata: NumPy's `.npz` without pickles.

`.npz` is a ZIP of plain arrays: it needs only NumPy, preserves every bit and dtype, has a checksum on each array,
and reading it with pickles disabled executes nothing. Names of arrays are kept in a JSON text, so that a name may contain
any character.
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
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.errors import StorageError
from sursum.io.files import atomically, interpreting, reading, writing

HEADER = "header"
FOREIGN = frozenset(
    {".nc", ".pkl", ".pickle", ".pt", ".pth", ".csv", ".json", ".h5", ".hdf5", ".zarr", ".safetensors", ".parquet"}
)
"""Suffixes of other file formats."""


def write(path: str | os.PathLike[str], kind: str, version: int, note: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON-able `note` to `path`, all or nothing.

    The file appears under its name only when it is complete and on disk: it is written to a temporary file and renamed.

    Raises:
        StorageError: the file system reports an error; an existing file at `path` is unchanged.
    """
    header = {"kind": kind, "version": version, "names": list(arrays), "note": dict(note)}
    with (
        writing(path, "An existing file is unchanged"),
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
        MissingFileError: the file does not exist.
        StorageError: the file is damaged, of a different kind, or of a later version, or the file system reports an error.
    """
    expected = f"a {kind} file written by `save`"
    with reading(path, expected):
        opened = open(path, "rb")  # noqa: SIM115 - closed below: only errors of opening are the file system's
    with opened as file, interpreting(path, f"a whole {kind} file written by `save`"), zipfile.ZipFile(file) as archive:
        _check_sizes(archive, os.fstat(file.fileno()).st_size)
        header = json.loads(bytes(_member(archive, HEADER)))
        if header["kind"] != kind:
            raise ValueError(f"it holds a {header['kind']!r}")
        if header["version"] > version:
            raise ValueError(f"it was written by a later sursum (format {header['version']}, this one reads {version})")
        names: list[str] = header["names"]
        return header["note"], {name: _member(archive, str(i)) for i, name in enumerate(names)}


def as_array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array, bit for bit; bfloat16, which NumPy lacks, as the integers of its bits."""
    plain = tensor.detach().cpu()
    return (plain.view(torch.int16) if plain.dtype is torch.bfloat16 else plain).numpy()


def as_tensor(array: NDArray[Any], dtype: str) -> Tensor:
    """The tensor of a dtype, by its name, that `as_array` made an array of."""
    found = torch.from_numpy(array.copy())
    return found.view(torch.bfloat16) if dtype == "bfloat16" else found


def check_suffix(path: str | os.PathLike[str], instead: Mapping[str, str]) -> None:
    """Check that `path` does not have the suffix of a different file format.

    Args:
        instead: what to do, by suffix.

    Raises:
        StorageError: it does.
    """
    suffix = Path(path).suffix
    if suffix in instead or suffix in FOREIGN:
        what = f"; for {suffix} {instead[suffix]}" if suffix in instead else ""
        raise StorageError(
            f"{os.fspath(path)!r} would be a file in NumPy's .npz format with the suffix of another. A name with the suffix "
            f".npz, or an unknown one, was expected{what}."
        )


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Check that the arrays are as large as the file: `write` does not compress, and a ZIP bomb declares far more.

    Raises:
        ValueError: they are larger.
    """
    declared = sum(member.file_size for member in archive.infolist())
    if declared > size:
        raise ValueError(f"it declares {declared} bytes of arrays, but has {size}")


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array, read to its end so that its checksum is verified.

    Raises:
        ValueError: its length does not match its shape, which is checked before memory is allocated.
    """
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise ValueError(f"array {name} is of NumPy's format {version}")
        shape, _, dtype = _HEADERS[version](member)
        long = archive.getinfo(f"{name}.npy").file_size - member.tell()
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != long:
            raise ValueError(f"array {name} has {long} bytes, which does not match its shape {shape} of {dtype}")
        member.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)
    return array


_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
