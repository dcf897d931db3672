"""How far an optimisation has come: one line on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

import numpy as np

BAR = 24
_EVERY = 0.2


@dataclass(eq=False)
class Progress:
    """One line, written over itself five times a second; nothing where `stream` is None."""

    total: int
    stream: TextIO | None
    _last: float = field(default=0.0, init=False)

    def update(self, done: int, losses: Sequence[float], *, force: bool = False) -> None:
        """Show that `done` steps of the run are taken; the last of `losses` are theirs."""
        now = time.monotonic()
        if self.stream is None or (not force and now - self._last < _EVERY):
            return
        self._last = now
        self.stream.write("\r" + self.text(done, losses) + "\x1b[K")
        self.stream.flush()

    def text(self, done: int, losses: Sequence[float]) -> str:
        """The line.

        Example:
            >>> Progress(100, None).text(50, [3.0, 1.0])
            '━━━━━━━━━━━━────────────  50/100 steps  loss 2'
        """
        filled = BAR * done // max(self.total, 1)
        recent = losses[-max(min(len(losses), 100), 1) :]
        mean = f"  loss {np.mean(recent):.6g}" if recent else ""
        return "━" * filled + "─" * (BAR - filled) + f"  {done}/{self.total} steps{mean}"

    def close(self, done: int, losses: Sequence[float]) -> None:
        """The run has ended."""
        if self.stream is not None:
            self.update(done, losses, force=True)
            self.stream.write("\n")
            self.stream.flush()


def progress_for(wanted: bool | None, total: int) -> Progress:
    """A progress line on standard error if it is wanted; None wants it on a terminal."""
    shown = sys.stderr.isatty() if wanted is None else wanted
    return Progress(total, sys.stderr if shown else None)
