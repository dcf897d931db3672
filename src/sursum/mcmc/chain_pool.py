"""Chains side by side: each by itself, at most so many at once, all looked after by one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sursum.compiler.native.library.blas import one_thread
from sursum.mcmc.nutpie_door import Chain, ChainTrace, Progress
from sursum.mcmc.progress import Watcher

INTERRUPTED, STOPPED, GOING_ON = "was interrupted", "was stopped", "is going on"
"""What may come between a run and its end, in the words of a message."""

LONGEST_NAP = 0.05
COLLECT = 0.5
"""Seconds between two looks for draws that are to be stored."""


@dataclass(frozen=True)
class Outcome:
    """What every chain drew, None for one that never began or whose draws are stored; `happened` says what came between."""

    traces: tuple[ChainTrace | None, ...]
    happened: str = ""


@dataclass(eq=False)
class Schedule:
    """Chains 0 to `num_chains` - 1, at most `cores` at once; `start(k)` begins chain k.

    `run` works until all have ended, in one thread; the other methods may be called from any.

    Arguments:
        collect: is given k, a chain with a spool, and whether it has ended, and takes what it has drawn.
    """

    start: Callable[[int], Chain]
    num_chains: int
    cores: int
    display: Watcher
    collect: Callable[[int, Chain, bool], None] | None = None
    paused: bool = field(default=False, init=False)
    _chains: list[Chain] = field(default_factory=list, init=False)
    _running: list[int] = field(default_factory=list, init=False)
    _stopping: bool = field(default=False, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _collected: float = field(default_factory=time.monotonic, init=False)

    def run(self) -> Outcome:
        """Begin and watch until all have ended.

        Ctrl-C stops them, and what they have drawn is the outcome. When one fails the others are stopped and its
        exception is raised. No chain is left running, however this ends.
        """
        happened = ""
        try:
            try:
                with one_thread():
                    happened = "" if self._watch() else STOPPED
            except KeyboardInterrupt:
                if not self._chains:
                    raise
                happened = INTERRUPTED
            with self._lock:
                for k, chain in enumerate(self._chains):
                    if k in self._running:
                        chain.stop()
                    else:
                        chain.end()
                    self._collect(k, ended=True)
            traces = [None if chain.spool else chain.trace() for chain in self._chains]
        finally:
            with self._lock:
                self._running.clear()
                for chain in self._chains:
                    chain.cancel()
            self.display.close()
        return Outcome((*traces, *[None] * (self.num_chains - len(traces))), happened)

    def pause(self) -> None:
        """Let the chains rest, each after the draw that it is making; no other one begins."""
        with self._lock:
            self.paused = True
            for k in self._running:
                self._chains[k].pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._lock:
            self.paused = False
            for k in self._running:
                self._chains[k].resume()
        self._wake.set()

    def stop(self) -> None:
        """Let the chains end, each after the draw that it is making, and what has been drawn be the outcome."""
        self._stopping = True
        self._wake.set()

    def progress(self) -> tuple[Progress, ...]:
        """How far each chain has come, those that have not begun included."""
        begun = [replace(chain.progress) for chain in list(self._chains)]
        return (*begun, *(Progress() for _ in range(self.num_chains - len(begun))))

    def so_far(self) -> Outcome:
        """What has been drawn until now, taken in between; draws that are stored have been collected."""
        with self._lock:
            traces: list[ChainTrace | None] = []
            for k, chain in enumerate(self._chains):
                if chain.spool:
                    self._collect(k, ended=False)
                traces.append(None if chain.spool else chain.trace())
        return Outcome((*traces, *[None] * (self.num_chains - len(traces))), GOING_ON)

    def _watch(self) -> bool:
        """Whether all have ended by themselves."""
        began = time.monotonic()
        while True:
            with self._lock:
                if self._stopping:
                    return not self._running and len(self._chains) == self.num_chains
                while not self.paused and len(self._chains) < self.num_chains and len(self._running) < self.cores:
                    self._running.append(len(self._chains))
                    self._chains.append(self.start(len(self._chains)))
                self._running = [k for k in self._running if not self._finished(k)]
                if time.monotonic() - self._collected > COLLECT:
                    for k in self._running:
                        self._collect(k, ended=False)
                    self._collected = time.monotonic()
                done = not self._running and len(self._chains) == self.num_chains
            self.display.update(self.progress())
            if done:
                return True
            # Looking costs the chains nothing but the GIL; a long run need not be looked at as often as a short one.
            self._wake.wait(min(LONGEST_NAP, 0.02 * (time.monotonic() - began)))
            self._wake.clear()

    def _finished(self, k: int) -> bool:
        if not self._chains[k].finished():
            return False
        self._chains[k].end()
        self._collect(k, ended=True)
        return True

    def _collect(self, k: int, *, ended: bool) -> None:
        if self.collect is not None:
            self.collect(k, self._chains[k], ended)
