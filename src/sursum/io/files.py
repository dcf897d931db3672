"""Files that appear whole, and what the file system refuses, said in terms of what was to be read or written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from sursum.errors import MissingFileError, StorageError, SursumError

_REMEDIES = {
    errno.EACCES: "Give a path for which you have permission, or change the permissions of this one.",
    errno.EPERM: "Give a path for which you have permission, or change the permissions of this one.",
    errno.EROFS: "Its file system is read-only: give a path on a different one.",
    errno.ENOSPC: "The disk is full: free some space, use a different disk, or keep fewer sites (`keep`).",
    errno.EDQUOT: "The disk quota is exhausted: free some space, use a different disk, or keep fewer sites (`keep`).",
    errno.EFBIG: "Files may not be that large here: raise the limit, or keep fewer sites (`keep`).",
    errno.EISDIR: "It is a folder: give the name of a file.",
    errno.ENOTDIR: "A parent of the path is a file, not a folder: give a different path.",
}


class reading:
    """In a `with` block: errors of the file system about `path` become errors that say what was `expected` there.

    Raises:
        MissingFileError: `path` does not exist.
        StorageError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str) -> None:
        self.path, self.expected = path, expected

    def __enter__(self) -> None:
        check_regular(self.path, self.expected)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        name = os.fspath(self.path)
        if isinstance(error, FileNotFoundError) and not os.path.lexists(name):
            near = Path(name).parent
            where = f"it is not in {os.fspath(near)!r}" if near.is_dir() else f"the folder {os.fspath(near)!r} does not exist"
            raise MissingFileError(
                f"{name!r} does not exist: {where}, and {self.expected} was expected. Give its path; a relative path "
                f"starts at {os.getcwd()!r}."
            ) from error
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(
                f"{name!r} could not be read: {_system_words(error)}. {self.expected[0].upper()}{self.expected[1:]} was "
                f"expected. {_REMEDIES.get(error.errno or 0, 'Give a different path.')}"
            ) from error


def check_regular(path: str | os.PathLike[str], expected: str) -> None:
    """Check that `path` is neither a pipe nor a device, which reading may block on forever.

    Raises:
        StorageError: it is one.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise StorageError(
            f"{os.fspath(path)!r} could not be read: it is a pipe or a device. {expected[0].upper()}{expected[1:]} was "
            "expected. Give the path of a file."
        )


class interpreting:
    """In a `with` block: invalid contents become an error about `path`.

    A file may be intact but contain what no writer of ours writes: a name without its array, a string instead of a number.

    Raises:
        StorageError: it cannot be understood.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str) -> None:
        self.path, self.expected = path, expected

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, SursumError):
            return
        what = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error) or type(error).__name__
        raise StorageError(
            f"{os.fspath(self.path)!r} could not be read: {what}. {self.expected[0].upper()}{self.expected[1:]} was expected. "
            "Save it again, or give the path of a different file."
        ) from error


class writing:
    """In a `with` block: errors of the file system become errors about `path` that also say what is left there.

    Raises:
        MissingFileError: the folder to write to does not exist.
        StorageError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], left: str = "Nothing was written") -> None:
        self.path, self.left = path, left

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        name = os.fspath(self.path)
        if not isinstance(error, OSError) or isinstance(error, StorageError):
            return
        parent = Path(name).parent
        if isinstance(error, FileNotFoundError) and not parent.is_dir():
            raise MissingFileError(
                f"{name!r} could not be written: the folder {os.fspath(parent)!r} does not exist. "
                "Create it, or give a different path."
            ) from error
        raise StorageError(
            f"{name!r} could not be written: {_system_words(error)}. {self.left}. "
            f"{_REMEDIES.get(error.errno or 0, 'Give a different path.')}"
        ) from error


@contextlib.contextmanager
def atomically(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """In a `with` block: a path beside `path`; what is made there appears as `path` when the block ends, whole or not at all.

    Args:
        path: of a file, which is replaced, or of a folder, which must not exist.
        durable: whether all of it is on the disk before it has its name, as what must outlive a power cut is. What can be
            made again, and is checked when it is read, need not be.

    Raises:
        OSError: the file system refuses; what was at `path` is as it was, and nothing is left of what was made.
    """
    target = Path(path)
    made = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield made
        if durable:
            for part in (*made.rglob("*"), made):
                sync(part)
        made.replace(target)
        if durable:
            sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike[str], content: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Write a file, which appears under its name when it is whole; see `atomically`.

    Args:
        mode: the rights, less the umask.

    Raises:
        OSError: the file system refuses.
    """
    with atomically(path, durable=durable) as made:
        # Whatever stands there, a link perhaps, is not followed.
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def sync(path: str | os.PathLike[str]) -> None:
    """Flush the contents of a file, or the names in a folder, to disk, so that they survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.path.isdir(path):
            return  # not every system can open folders
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """`sync` of a folder that may be on a file system without support for it."""
    with contextlib.suppress(OSError):
        sync(path)


def _system_words(error: OSError) -> str:
    """The system's message, without the names of our temporary files."""
    return (error.strerror or str(error)).lower()
