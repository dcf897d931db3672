"""Compiled libraries on disk: found again by what they were made of, and checked before they are loaded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sursum.caller import warn
from sursum.errors import EngineWarning

#: The end of every library of ours: this mark, then the hash of its key and everything before the mark.
MARK = b"sursum library 1"
#: Names of the files that we write: libraries, their texts, what was found out of the toolchain, and halves of these.
OURS = re.compile(r"[0-9a-f]{64}\.(so|c)|toolchain-[0-9a-f]{16}\.json|\.new-.*")


def default_directory() -> Path:
    """Where libraries are kept: $SURSUM_CACHE, else $XDG_CACHE_HOME/sursum, else ~/.cache/sursum."""
    asked = os.environ.get("SURSUM_CACHE")
    if asked:
        return Path(asked)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sursum"


def contents(directory: Path) -> list[Path]:
    """The files of ours in a directory; none where there is no such directory."""
    if not directory.is_dir():
        return []
    return sorted(file for file in directory.iterdir() if file.is_file() and OURS.fullmatch(file.name))


def clear(directory: Path) -> list[Path]:
    """Remove our files, and no others, from a directory; those that could not be removed are returned."""
    for file in contents(directory):
        with contextlib.suppress(OSError):
            file.unlink()
    return contents(directory)


def open_directory(directory: Path | None) -> Path | None:
    """A directory that is ours alone, made if needed; None, with a warning, if there cannot be one."""
    try:
        wanted = default_directory() if directory is None else directory
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = wanted.stat()
        if hasattr(os, "getuid") and found.st_uid != os.getuid():
            raise PermissionError(f"{wanted} belongs to somebody else")
        if stat.S_IMODE(found.st_mode) & 0o077:
            wanted.chmod(0o700)
        if not os.access(wanted, os.W_OK | os.X_OK):
            raise PermissionError(f"{wanted} is not writable")
    except (OSError, RuntimeError) as error:
        _note(error)
        return None
    return wanted


def _note(error: Exception) -> None:
    warn(
        f"compiled densities cannot be kept: {error}. This one is compiled again in every process; set SURSUM_CACHE to "
        "a directory that can be written",
        EngineWarning,
    )


def sealed(key: str, library: bytes) -> bytes:
    """A library with its seal."""
    return library + MARK + hashlib.sha256(key.encode() + library).digest()


def intact(key: str, content: bytes) -> bool:
    """Whether content is a library with the seal of this key.

    Example:
        >>> intact("k", sealed("k", b"code")), intact("other", sealed("k", b"code")), intact("k", b"code")
        (True, False, False)
    """
    body, mark, seal = content[: -32 - len(MARK)], content[-32 - len(MARK) : -32], content[-32:]
    return mark == MARK and seal == hashlib.sha256(key.encode() + body).digest()


@dataclass(frozen=True, slots=True)
class Library:
    """A library on disk that may be loaded, and then `close`d: one that could not be kept lies in a `directory` that goes."""

    path: Path
    cached: bool
    directory: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Removes what is not kept. What has been loaded stays in memory."""
        if self.directory is not None:
            self.directory.cleanup()


def fetch(directory: Path | None, key: str, source: str, compile: Callable[[], bytes]) -> Library:
    """The library of a key: the one in the directory if it is whole, else a new one.

    It is written under a name of its own and then renamed, so that two processes may do this at once, and a process
    that dies leaves nothing half done. Where it cannot be written it goes to a private temporary directory.
    """
    if directory is not None:
        path = directory / f"{key}.so"
        try:
            if intact(key, path.read_bytes()):
                return Library(path, cached=True)
        except OSError:
            pass  # not there
    content = sealed(key, compile())
    if directory is not None:
        try:
            _write(directory / f"{key}.c", source.encode("ascii"))
            _write(path, content)
            return Library(path, cached=False)
        except OSError as error:
            _note(error)
    private = tempfile.TemporaryDirectory(prefix="sursum-")
    path = Path(private.name, f"{key}.so")
    path.write_bytes(content)
    return Library(path, cached=False, directory=private)


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o600 if path.suffix == ".c" else 0o700)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
