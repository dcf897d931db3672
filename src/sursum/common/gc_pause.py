"""Pause Python's cyclic garbage collector.

A capture allocates hundreds of thousands of small objects and keeps nearly all of them, so every collection traverses the
whole heap and frees almost nothing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Waiting:
    """How many callers have paused the collector; the switch itself is Python's and process-wide."""

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
def pause_collection() -> Iterator[None]:
    """Run the block without cyclic garbage collection; if nested or in several threads, the last one out re-enables it.

    Example:
        >>> import gc
        >>> with pause_collection():
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
