"""Run independent chains in parallel, up to a maximum number at once, supervised by one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sursum.compiler.native.library.blas import one_thread
from sursum.mcmc.kernel_chain import KernelChain
from sursum.mcmc.progress import Watcher
from sursum.mcmc.stopping import Ending
from sursum.mcmc.trace import MOST, ChainTrace, Progress

INTERRUPTED, STOPPED, GOING_ON = "was interrupted", "was stopped", "is going on"
"""How a run may be cut short, as worded in messages."""

LONGEST_NAP = 0.05
COLLECT = 0.5
"""Seconds after which draws are stored that do not fill a block yet."""

GRACE = 0.3
"""Seconds that a run which is stopped before it has a draw to give is left for one."""

BEHIND = MOST // 2
"""Draws of a chain that may wait to be stored; one with more is paused until a block of them is."""


@dataclass(frozen=True)
class Outcome:
    """The draws of each chain, None for one that never started or whose draws are stored; `happened` is how the run ended.

    `states` are those of chains that have all reached their end.
    """

    traces: tuple[ChainTrace | None, ...]
    happened: str = ""
    kept: int | None = None
    """How many draws of each chain after the warm-up are kept; None keeps all."""
    states: tuple[bytes, ...] = ()


@dataclass(eq=False)
class Schedule:
    """Chains 0 to `num_chains` - 1, at most `cores` at once; `start(k, ended)` starts chain k, which calls `ended` when it has.

    `run` blocks its thread until all have ended; the other methods may be called from any thread.

    Args:
        collect: called with k, a chain with a spool, and whether it has ended, to take its draws.
        ending: when the run ends before all draws are made.
        num_warmup: draws of each chain that do not count for it.
        thin: of how many of the others one is kept.
    """

    start: Callable[[int, Callable[[], None]], KernelChain]
    num_chains: int
    cores: int
    display: Watcher
    collect: Callable[[int, KernelChain, bool], None] | None = None
    ending: Ending | None = None
    num_warmup: int = 0
    thin: int = 1
    paused: bool = field(default=False, init=False)
    _chains: list[KernelChain] = field(default_factory=list, init=False)
    _running: list[int] = field(default_factory=list, init=False)
    _stop_by: float | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _collected: float = field(default_factory=time.monotonic, init=False)
    _held: set[int] = field(default_factory=set, init=False)

    def run(self) -> Outcome:
        """Start the chains and watch until all have ended.

        Ctrl-C stops them, and the draws made so far are the outcome. If one fails, the others are stopped and its
        exception is raised. No chain is ever left running.
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
            states = () if happened else tuple(chain.state.block.tobytes() for chain in self._chains)
        finally:
            with self._lock:
                self._running.clear()
                for chain in self._chains:
                    chain.cancel()
            self.display.close()
        kept = None if self.ending is None or happened else self.ending.kept
        return Outcome((*traces, *[None] * (self.num_chains - len(traces))), happened, kept, states)

    def pause(self) -> None:
        """Pause the chains, each after its current draw; no new chain starts."""
        with self._lock:
            self.paused = True
            for k in self._running:
                self._chains[k].pause()

    def resume(self) -> None:
        """Continue after `pause`."""
        with self._lock:
            self.paused = False
            for k in self._running:
                if k not in self._held:
                    self._chains[k].resume()
        self._wake.set()

    def stop(self, grace: float = 0.0) -> None:
        """Stop the chains, each after its current draw; the draws made so far are the outcome.

        Args:
            grace: for how many seconds chains may go on that have none yet.
        """
        self._stop_by = time.monotonic() + grace
        self._wake.set()

    def progress(self) -> tuple[Progress, ...]:
        """The progress of each chain, including those that have not started."""
        begun = [replace(chain.progress) for chain in list(self._chains)]
        return (*begun, *(Progress() for _ in range(self.num_chains - len(begun))))

    def so_far(self) -> Outcome:
        """The draws so far, while the chains run; stored draws have already been collected."""
        with self._lock:
            traces: list[ChainTrace | None] = []
            for k, chain in enumerate(self._chains):
                if chain.spool:
                    self._collect(k, ended=False)
                traces.append(None if chain.spool else chain.trace())
        return Outcome((*traces, *[None] * (self.num_chains - len(traces))), GOING_ON)

    def _watch(self) -> bool:
        """Whether all chains ended normally."""
        began = time.monotonic()
        while True:
            with self._lock:
                if self._must_stop():
                    return not self._running and len(self._chains) == self.num_chains
                while not self.paused and len(self._chains) < self.num_chains and len(self._running) < self.cores:
                    self._running.append(len(self._chains))
                    self._chains.append(self.start(len(self._chains), self._wake.set))
                self._running = [k for k in self._running if not self._has_finished(k)]
                behind = self.collect is not None and self._store_some()
                done = not self._running and len(self._chains) == self.num_chains
            progress = self.progress()
            self.display.update(progress)
            if self.ending is not None:
                made = min((chain.draws for chain in progress), default=0) - self.num_warmup
                if self.ending.reached(made, time.monotonic() - began):
                    return True
            if done:
                return True
            # A chain that ends says so. Where a condition may end the run sooner, a short one is looked at more often.
            hurry = self.ending is not None or self._stop_by is not None
            nap = LONGEST_NAP if not hurry else min(LONGEST_NAP, 0.02 * (time.monotonic() - began))
            self._wake.wait(0.0 if behind else nap)
            self._wake.clear()

    def _must_stop(self) -> bool:
        """Whether the run has been stopped, and each chain that has begun has a draw, or no more time for one."""
        if self._stop_by is None:
            return False
        begun = bool(self._chains) and all(
            chain.draws >= self.num_warmup + self.thin for chain in self.progress()[: len(self._chains)]
        )
        return self.paused or begun or time.monotonic() >= self._stop_by

    def _store_some(self) -> bool:
        """Store a block of each chain that has one, or any draws at intervals; whether more is waiting."""
        due = time.monotonic() - self._collected > COLLECT
        for k in self._running:
            for other in self._running:  # a chain may be faster than the disk, and go on while this thread stores
                self._hold(other, self._chains[other].waiting() > BEHIND)
            if due or k in self._held:
                self._collect(k, ended=False)
        if due:
            self._collected = time.monotonic()
        return bool(self._held)

    def _hold(self, k: int, behind: bool) -> None:
        if behind and k not in self._held:
            self._held.add(k)
            self._chains[k].pause()
        elif not behind and k in self._held:
            self._held.discard(k)
            if not self.paused:
                self._chains[k].resume()

    def _has_finished(self, k: int) -> bool:
        if not self._chains[k].finished():
            return False
        self._chains[k].end()
        self._collect(k, ended=True)
        return True

    def _collect(self, k: int, *, ended: bool) -> None:
        if self.collect is not None:
            self.collect(k, self._chains[k], ended)
