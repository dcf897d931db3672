"""Shared libraries in memory: compiled or found in the cache, opened, and let go again."""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sursum.compiler.native.library.cache import alone, discard, find_library, keep, open_directory, read_file
from sursum.compiler.native.library.toolchain import Toolchain, detect
from sursum.errors import CompileError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A library in memory, and whether it had been kept in the cache."""

    handle: ctypes.CDLL
    cached: bool


@dataclass(frozen=True, eq=False)
class HeldLibrary:
    """A library that several may share; it leaves memory once nothing refers to this."""

    library: Loaded

    def __post_init__(self) -> None:
        closing = weakref.finalize(self, unload, self.library.handle)
        # Not when the process ends: a sampler's threads may still be in there.
        closing.atexit = False


def load(
    source: str,
    symbols: Sequence[str],
    *,
    statements: int = 0,
    long_loops: bool = False,
    tools: Toolchain | None = None,
    directory: Path | None = None,
) -> Loaded:
    """The library of a C text, from the cache if it has been compiled before.

    Arguments:
        source: the text.
        symbols: functions that it must have.
        statements, long_loops: what the flags depend on.
        tools: the compiler; by default this machine's.
        directory: the cache, as `open_directory` gives it; by default the usual one.

    Raises:
        CompileError: there is no compiler, it failed, or what it wrote cannot be loaded.
    """
    if tools is None:
        directory = open_directory(None)
        tools = detect(directory)
    key = tools.key(source, statements, long_loops=long_loops)
    path, content, cached = find_library(directory, key), b"", True
    if path is None:
        with alone(directory, key):
            path = find_library(directory, key)  # another process may have made it meanwhile
            if path is None:
                cached, content = False, tools.compile(source, statements, long_loops=long_loops)
                path = keep(directory, key, source, content)
    try:
        # A file system may keep files and not let them be executed.
        handle = _open(path) or open_privately(content or read_file(path) if path else content)
        missing = [symbol for symbol in symbols if not hasattr(handle, symbol)]
        if missing:
            unload(handle)
            raise CompileError(f"what the C compiler wrote has no function {missing[0]!r}")
    except (OSError, CompileError) as error:
        if path is not None and not cached:
            discard(path)
        raise CompileError(f"{error}; the C compiler was {' '.join(tools.command)}") from error
    return Loaded(handle, cached)


def _open(path: Path | None) -> ctypes.CDLL | None:
    with contextlib.suppress(OSError):
        return ctypes.CDLL(str(path)) if path else None
    return None


def open_privately(content: bytes) -> ctypes.CDLL:
    """A library brought into memory from a file that is gone afterwards.

    Raises:
        CompileError: it cannot be loaded, or there is no place from which one can be.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sursum-", ignore_cleanup_errors=True) as directory:
            path = Path(directory, "library.so")
            path.write_bytes(content)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompileError(
            f"what the C compiler wrote cannot be loaded ({error}). If file systems here are mounted so that nothing on them "
            "can be executed (noexec), set SURSUM_CACHE or TMPDIR to a folder on another"
        ) from error


def unload(library: ctypes.CDLL) -> None:
    """Let a library go. Nothing of it may be called afterwards."""
    # Python has the function under the name that the system has for it.
    close = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary", None)
    if close is not None:
        close(library._handle)
