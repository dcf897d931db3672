"""Compiled libraries on disk: found again by what they were made of, and checked before they are loaded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from sursum.common.user_frame import warn
from sursum.errors import EngineWarning
from sursum.io.file_lock import FileLock, Held
from sursum.io.files import write_atomically

#: Names of the files that we write: libraries, texts and seals, what is known of the toolchain, locks, and halves of these.
OURS = re.compile(r"\.?([0-9a-f]{64}\.(so|c|seal)|toolchain-[0-9a-f]{16}\.json|compiling-[0-9a-f]{2})(\.[0-9a-f]{8})?|\.new-.*")


#: Seconds to wait for another process that compiles the same.
PATIENCE = 300.0

#: Rights to write that the group or everybody has.
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def default_directory() -> Path:
    """Where libraries are kept: $SURSUM_CACHE, else $XDG_CACHE_HOME/sursum, else ~/.cache/sursum.

    Raises:
        RuntimeError: none of these, for the user has no home.
    """
    asked = os.environ.get("SURSUM_CACHE")
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sursum"


def contents(directory: Path) -> list[Path]:
    """The files of ours in a directory, and in the folder of our own inside; none where there is no such directory."""
    return [
        file
        for folder in (directory, _inner(directory))
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.is_file() and OURS.fullmatch(file.name)
    ]


def clear(directory: Path) -> list[Path]:
    """Remove our files, and no others, from a directory; those that could not be removed are returned."""
    for file in contents(directory):
        with contextlib.suppress(OSError):
            file.unlink()
    return contents(directory)


def open_directory(directory: Path | None) -> Path | None:
    """A directory into which nobody else writes, made if needed; None, with a warning, if there cannot be one.

    A directory that others may write to is left as it is, and a folder inside it is taken that is ours alone.
    """
    try:
        wanted = default_directory() if directory is None else directory
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = _private(wanted)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"{place} is not writable")
    except (OSError, RuntimeError) as error:
        _note(error)
        return None
    return place


def _private(directory: Path) -> Path:
    """The directory itself if it is ours and nobody else may write to it, else our own folder inside.

    Raises:
        PermissionError: it belongs to another user, who could put something else in the folder's place.
    """
    if not hasattr(os, "getuid"):
        return directory
    found = directory.stat()
    if found.st_uid == os.getuid() and not found.st_mode & OTHERS_WRITE:
        return directory
    if found.st_uid not in (os.getuid(), 0):
        raise PermissionError(f"{directory} belongs to somebody else")
    inner = _inner(directory)
    inner.mkdir(mode=0o700, exist_ok=True)
    look = inner.lstat()
    if not stat.S_ISDIR(look.st_mode) or look.st_uid != os.getuid() or look.st_mode & OTHERS_WRITE:
        raise PermissionError(f"{inner} is not a folder to which you alone can write")
    return inner


def _inner(directory: Path) -> Path:
    return directory / f"sursum-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _note(error: Exception) -> None:
    warn(
        f"compiled densities cannot be kept: {error}. This one is compiled again in every process; set SURSUM_CACHE to "
        "a directory that can be written",
        EngineWarning,
    )


def seal(key: str, content: bytes) -> str:
    """What is kept beside a content to know it again. It is a file of its own: a library may be signed as it is.

    Example:
        >>> seal("a key", b"code") == seal("a key", b"code"), seal("a key", b"code") == seal("another key", b"code")
        (True, False)
    """
    return hashlib.sha256(key.encode() + content).hexdigest()


def find_library(directory: Path | None, key: str) -> Path | None:
    """The library of a key in the directory, if one is there and whole."""
    if directory is None:
        return None
    path = directory / f"{key}.so"
    try:
        whole = read_file(path.with_suffix(".seal")).decode("ascii") == seal(key, read_file(path))
    except (OSError, UnicodeDecodeError):
        return None
    return path if whole else None


@contextlib.contextmanager
def alone(directory: Path | None, key: str) -> Iterator[None]:
    """In a `with` block: nobody else compiles the text of this key, nor the few others whose keys begin alike.

    One who waits too long, for a process that is suspended perhaps, goes on all the same: a library may be made twice.
    """
    lock = FileLock()
    if directory is not None:
        with contextlib.suppress(Held):
            lock = FileLock.take(directory / f"compiling-{key[:2]}", PATIENCE)
    try:
        yield
    finally:
        lock.release()


def keep(directory: Path | None, key: str, source: str, content: bytes) -> Path | None:
    """Write the library of a key, and its text beside it, into the directory; None, with a warning, where it cannot be.

    Each file is written under a name of its own and then renamed, the seal last, so that two processes may do this at once,
    and a process that dies leaves nothing that is half done.
    """
    if directory is None:
        return None
    path = directory / f"{key}.so"
    try:
        write_file(path.with_suffix(".c"), source.encode("ascii"))
        write_file(path, content, 0o700)
        write_file(path.with_suffix(".seal"), seal(key, content).encode("ascii"))
    except OSError as error:
        _note(error)
        return None
    return path


def discard(path: Path) -> None:
    """Remove the library of a path: it cannot be used, although it is what the compiler wrote."""
    for suffix in (".seal", ".so"):
        with contextlib.suppress(OSError):
            path.with_suffix(suffix).unlink()


def read_file(path: Path) -> bytes:
    """What a file holds.

    Raises:
        OSError: there is none, or something else stands there, such as a pipe, whose end nobody knows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    return path.read_bytes()


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file of the cache: nobody else reads it, and one that a power cut has damaged is made again.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    write_atomically(path, content, mode=mode, durable=False)
