"""How far a run has come, on a terminal or in a notebook."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from sursum.mcmc.nutpie_door import Progress

BAR = 24


class Display(Protocol):
    """Where progress is shown."""

    def update(self, chains: Sequence[Progress]) -> None:
        """Show the state of all chains, those that wait included; called many times a second."""

    def close(self) -> None:
        """The run has ended, in whatever way."""


@dataclass(frozen=True)
class Silent:
    """Shows nothing."""

    def update(self, chains: Sequence[Progress]) -> None: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class Line:
    """What is said about a run: one line, with the time that is left."""

    draws_per_chain: int
    _began: float = field(default_factory=time.monotonic, init=False)

    def text(self, chains: Sequence[Progress]) -> str:
        """The line for the present state.

        Example:
            >>> line = Line(200).text([Progress(200, 3, 900, 0.5, False), Progress(100, 0, 400, 0.4, True)])
            >>> line.split("  ")[:5]
            ['━━━━━━━━━━━━━━━━━━──────', '2 chains', '300/400 draws', '3 divergences', 'step size 0.40–0.50']
        """
        done, total = sum(chain.draws for chain in chains), self.draws_per_chain * len(chains)
        filled = BAR * done // max(total, 1)
        sizes = [chain.step_size for chain in chains if chain.draws]
        parts = [
            "━" * filled + "─" * (BAR - filled),
            f"{len(chains)} chain" + "s" * (len(chains) != 1),
            f"{done}/{total} draws",
            f"{sum(chain.divergences for chain in chains)} divergences",
        ]
        if sizes:
            low, high = f"{min(sizes):.2f}", f"{max(sizes):.2f}"
            parts.append(f"step size {low}" if low == high else f"step size {low}–{high}")
        elapsed = time.monotonic() - self._began
        parts.append(f"{_clock(elapsed)} gone" if done == total else f"{_left(elapsed, done, total)} left")
        return "  ".join(parts)


@dataclass(eq=False)
class Terminal:
    """One line on a terminal, written over itself five times a second."""

    line: Line
    stream: TextIO
    _last: float = field(default=0.0, init=False)
    _chains: Sequence[Progress] = field(default=(), init=False)

    def update(self, chains: Sequence[Progress]) -> None:
        self._chains = chains
        if (now := time.monotonic()) - self._last >= 0.2:
            self._last = now
            self._write()

    def close(self) -> None:
        if self._chains:
            self._write()
            self.stream.write("\n")
            self.stream.flush()

    def _write(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        # "\x1b[K" clears what a longer line has left.
        self.stream.write("\r" + self.line.text(self._chains)[:width] + "\x1b[K")
        self.stream.flush()


@dataclass(eq=False)
class Notebook:
    """The same line under a notebook's cell, with a bar of HTML."""

    line: Line
    _last: float = field(default=0.0, init=False)
    _handle: Any = field(default=None, init=False)
    _chains: Sequence[Progress] = field(default=(), init=False)

    def update(self, chains: Sequence[Progress]) -> None:
        self._chains = chains
        if (now := time.monotonic()) - self._last >= 0.5:
            self._last = now
            self._show()

    def close(self) -> None:
        if self._chains:
            self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]  # there: we run in it

        done, total = sum(chain.draws for chain in self._chains), self.line.draws_per_chain * len(self._chains)
        words = self.line.text(self._chains).split("  ", 1)[1].replace("  ", " · ")
        page = HTML(f'<progress value="{done}" max="{total}" style="width:16em"></progress> {words}')
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def display_for(wanted: bool | None, draws_per_chain: int) -> Display:
    """Where to show progress: nowhere if `wanted` is False; if None, only in a notebook or on a terminal."""
    if wanted is False:
        return Silent()
    if _in_notebook():
        return Notebook(Line(draws_per_chain))
    if wanted or sys.stderr.isatty():
        return Terminal(Line(draws_per_chain), sys.stderr)
    return Silent()


def _in_notebook() -> bool:
    """Whether an IPython with a kernel behind it runs this; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _left(elapsed: float, done: int, total: int) -> str:
    return _clock(elapsed * (total - done) / done) if done else "–"
