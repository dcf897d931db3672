"""Arrays in one file, with a word about what they are: NumPy's `.npz` without pickles.

`.npz` is a ZIP of plain arrays: it needs nothing but NumPy, keeps every bit and dtype, has a checksum on each array,
and reading it with pickles switched off executes nothing. Names of arrays are kept in a JSON text beside them, so that
a name may hold any character.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.errors import StorageError
from sursum.files import reading, sync_folder, writing

HEADER = "header"


def write(path: str | os.PathLike[str], kind: str, version: int, note: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON-able `note` to `path`, all or nothing.

    The file appears under its name only when it is whole and on the disk: it is written beside it and renamed.

    Raises:
        StorageError: the file system refuses; what was at `path` is as it was.
    """
    target = Path(path)
    header = {"kind": kind, "version": version, "names": list(arrays), "note": dict(note)}
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with writing(path, "What was there is as it was"):
        try:
            with open(temporary, "xb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    _add(archive, HEADER, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
                    for i, array in enumerate(arrays.values()):
                        _add(archive, str(i), np.asarray(array))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def read(path: str | os.PathLike[str], kind: str, version: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The note and the arrays of a file that `write` made.

    Raises:
        MissingFileError: there is none.
        StorageError: the file is not whole, of another kind, or of a later version, or the file system refuses.
    """
    damaged = (zipfile.BadZipFile, ValueError, EOFError, KeyError, TypeError, json.JSONDecodeError, NotImplementedError)
    with reading(path, f"a {kind} file written by `save`"):
        opened = open(path, "rb")  # noqa: SIM115 - closed below: only what opening says is of the file system
    try:
        with opened as file, zipfile.ZipFile(file) as archive:
            header = json.loads(bytes(_member(archive, HEADER)))
            if header["kind"] != kind:
                raise ValueError(f"it holds a {header['kind']!r}")
            if header["version"] > version:
                raise ValueError(f"it was written by a later sursum (format {header['version']}, this one reads {version})")
            names: list[str] = header["names"]
            return header["note"], {name: _member(archive, str(i)) for i, name in enumerate(names)}
    except damaged as error:
        raise StorageError(
            f"{os.fspath(path)!r} could not be read: {error}. A whole {kind} file written by `save` was expected. "
            "Save it again, or give the path of another file."
        ) from error


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array, read to its end so that its checksum is verified."""
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise ValueError(f"array {name} is longer than its shape says")
    return array
