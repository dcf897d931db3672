"""Python's cyclic garbage collector, kept waiting.

A capture makes hundreds of thousands of small objects and keeps nearly all of them, and the collector goes through all that a
process holds again and again to find it so.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Waiting:
    """How many are keeping the collector waiting; the switch is Python's, of the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_enabled = False

    def enter(self) -> None:
        with self._lock:
            if not self._count:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and self._was_enabled:
                gc.enable()


_WAITING = _Waiting()


@contextmanager
def uncollected() -> Iterator[None]:
    """Run what is inside without collections of cycles; nested and in several threads, the last one out lets them go on.

    Example:
        >>> import gc
        >>> with uncollected():
        ...     gc.isenabled()
        False
        >>> gc.isenabled()
        True
    """
    _WAITING.enter()
    try:
        yield
    finally:
        _WAITING.leave()
