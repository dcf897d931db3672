"""Libraries of C texts that belong to the package and to no density: opened once in a process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

from sursum.compiler.native.library.loaded import Loaded, load

INCLUDES = "".join(f"#include <{name}.h>\n" for name in ("math", "stddef", "stdint", "stdlib", "string"))

SETTINGS = ("CC", "PATH", "SURSUM_CACHE", "XDG_CACHE_HOME", "HOME", "TMPDIR")
"""What says which compiler there is, and where it puts what it makes."""


def open_own(source: str, symbols: Sequence[str]) -> Loaded:
    """The library of a text, which stays in memory.

    Raises:
        CompileError: there is no compiler, or it failed.

    Example:
        >>> text = "int one(void) { return 1; }"
        >>> open_own(text, ["one"]) is open_own(text, ["one"])
        True
    """
    return _open(source, tuple(symbols), tuple(os.environ.get(name) for name in SETTINGS))


@lru_cache(maxsize=8)
def _open(source: str, symbols: tuple[str, ...], settings: tuple[str | None, ...]) -> Loaded:
    return load(source, symbols)
