"""How far something has come: on a terminal, in a notebook, or as lines of a log."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TextIO

BAR = 24

SOON = 2.0
"""Seconds after which work is shown that as a rule is over by then."""


@dataclass(frozen=True)
class ProgressState:
    """How much of a whole is done, and what else there is to say.

    Example:
        >>> str(ProgressState(50, 100, ("50/100 steps", "loss 2")))
        '━━━━━━━━━━━━────────────  50/100 steps  loss 2'
    """

    done: int
    total: int
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        filled = BAR * self.done // max(self.total, 1)
        return "  ".join(("━" * filled + "─" * (BAR - filled), *self.words))


Present = Callable[[], ProgressState]
"""The present state, which is asked for when it is shown."""


class Display(Protocol):
    """Where progress is shown."""

    def update(self, present: Present) -> None:
        """Show the present state; called many times a second."""

    def close(self) -> None:
        """It has ended, in whatever way."""


@dataclass(frozen=True)
class NoProgress:
    """Shows nothing."""

    def update(self, present: Present) -> None: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class PeriodicReport:
    """Shows the present state when `EVERY` seconds have passed since the last time, and when it has ended."""

    EVERY: ClassVar[float]

    _last: float = field(default=0.0, init=False)
    _present: Present | None = field(default=None, init=False)

    def show(self, state: ProgressState) -> None:
        raise NotImplementedError

    def update(self, present: Present) -> None:
        self._present = present
        if (now := time.monotonic()) - self._last >= self.EVERY:
            self._last = now
            self.show(present())

    def close(self) -> None:
        if self._present is not None:
            self.show(self._present())


@dataclass(eq=False)
class Terminal(PeriodicReport):
    """One line on a terminal, written over itself."""

    EVERY: ClassVar[float] = 0.2

    stream: TextIO

    def show(self, state: ProgressState) -> None:
        width = shutil.get_terminal_size().columns - 1
        # "\x1b[K" clears what a longer line has left.
        self.stream.write("\r" + str(state)[:width] + "\x1b[K")
        self.stream.flush()

    def close(self) -> None:
        super().close()
        if self._present is not None:
            self.stream.write("\n")
            self.stream.flush()


@dataclass(eq=False)
class LogLines(PeriodicReport):
    """A line every few seconds where nothing can be written over, such as a log; none of what is done before the first."""

    EVERY: ClassVar[float] = 10.0

    stream: TextIO
    _last: float = field(default_factory=lambda: time.monotonic(), init=False)
    _shown: bool = field(default=False, init=False)

    def show(self, state: ProgressState) -> None:
        self._shown = True
        self.stream.write("  ".join(state.words) + "\n")
        self.stream.flush()

    def close(self) -> None:
        if self._shown:
            super().close()


@dataclass(eq=False)
class Patient:
    """Shows nothing of what is done within some seconds."""

    display: Display
    seconds: float
    _began: float = field(default_factory=lambda: time.monotonic(), init=False)

    def update(self, present: Present) -> None:
        if time.monotonic() - self._began >= self.seconds:
            self.display.update(present)

    def close(self) -> None:
        self.display.close()


@contextmanager
def waiting(words: str, display: Display) -> Iterator[None]:
    """Show `words` and the seconds that have gone, while something is done that does not say how far it is."""
    began, ended = time.monotonic(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
            display.update(lambda: ProgressState(0, 0, (words, f"{time.monotonic() - began:.0f} s")))
        display.close()

    if isinstance(display, NoProgress):
        yield
        return
    thread = threading.Thread(target=watch, name="sursum progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(eq=False)
class Notebook(PeriodicReport):
    """The same line under a notebook's cell, with a bar of HTML."""

    EVERY: ClassVar[float] = 0.5

    _handle: Any = field(default=None, init=False)

    def show(self, state: ProgressState) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]  # there: we run in it

        bar = f'<progress value="{state.done}" max="{state.total}" style="width:16em"></progress>'
        page = HTML(f"{bar} {' · '.join(state.words)}")
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def display_for(wanted: bool | None, after: float = 0.0) -> Display:
    """Where to show progress: nowhere if `wanted` is False; elsewhere than in a notebook or on a terminal as lines of a log.

    On a terminal and in a notebook a line is written over; True does so whatever standard error is. Nothing is shown of what is
    done within `after` seconds.
    """
    if after and wanted is not False:
        display = display_for(wanted)
        return display if isinstance(display, NoProgress) else Patient(display, after)
    if wanted is False:
        return NoProgress()
    if _in_notebook():
        return Notebook()
    if sys.stderr is None:  # as in a program without a console
        return NoProgress()
    return Terminal(sys.stderr) if wanted or sys.stderr.isatty() else LogLines(sys.stderr)


def _in_notebook() -> bool:
    """Whether an IPython with a kernel behind it runs this; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
