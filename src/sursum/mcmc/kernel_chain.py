"""A running chain of our kernels: a thread that makes draws, and what others may ask of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.errors import CompileError
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.gibbs import advance_held
from sursum.mcmc.kernel.native import HeldInC, NativeKernel
from sursum.mcmc.kernel.reference import GO_ON, NOW, REST, advance
from sursum.mcmc.kernel.state import RECORD, State
from sursum.mcmc.sweeps import Sweeps
from sursum.mcmc.trace import MOST, MOST_BYTES, Block, ChainTrace, Progress, statistics

Array = NDArray[np.float64]
Advance = Callable[[State, int, NDArray[np.int64], Array, "Array | None", NDArray[np.void]], int]

MOST_BLOCKS = 8
"""Blocks that may wait to be stored; a chain with more of them waits itself."""

SECONDS = 0.25
"""After about so long a chain whose draws are stored hands them over with its state."""


def advancing(density: Any, kernel: NativeKernel | None, sweeps: Sweeps | None = None) -> Advance:
    """What makes the next draws of a chain of this density: the C with an instance of its own, or NumPy.

    Args:
        sweeps: how discrete coordinates are drawn, if there are any.
    """
    if sweeps is not None:
        return _advancing_held(density, kernel, sweeps)
    if kernel is None:

        def by_numpy(
            state: State, draws: int, stop: NDArray[np.int64], q: Array, g: Array | None, records: NDArray[np.void]
        ) -> int:
            return advance(state, draws, density.value_and_grad, lambda: int(stop[0]), q, g, records)

        return by_numpy
    instance = density.instance()

    def by_c(state: State, draws: int, stop: NDArray[np.int64], q: Array, g: Array | None, records: NDArray[np.void]) -> int:
        return kernel.advance(state, draws, density, instance, stop, q, g, records)

    return by_c


def _advancing_held(density: Any, kernel: NativeKernel | None, sweeps: Sweeps) -> Advance:
    """The same, for a density with discrete coordinates."""
    if kernel is None or sweeps.native is None:
        how = sweeps.by_torch

        def by_numpy(
            state: State, draws: int, stop: NDArray[np.int64], q: Array, g: Array | None, records: NDArray[np.void]
        ) -> int:
            return advance_held(state, draws, density.value_and_grad, lambda: int(stop[0]), q, g, records, how)

        return by_numpy
    held = HeldInC(density, sweeps.native)

    def by_c(state: State, draws: int, stop: NDArray[np.int64], q: Array, g: Array | None, records: NDArray[np.void]) -> int:
        return kernel.gibbs(state, draws, stop, q, g, records, held)

    return by_c


def native_kernel(density: Any) -> NativeKernel | None:
    """The kernels in C, if this density is in C too, and there is a compiler."""
    if density.engine != "native":
        return None
    try:
        return NativeKernel.open()
    except CompileError:
        return None


@dataclass(eq=False)
class Segment:
    """Consecutive draws of one phase, `made` of them so far, with the gradients where the metric looks back on them."""

    begin: int
    q: Array
    records: NDArray[np.void]
    gradients: Array | None
    made: int = 0

    @property
    def length(self) -> int:
        return len(self.q)


@dataclass(eq=False)
class Handed:
    """The draws of a chain that have not been stored yet; those before `taken` have."""

    taken: int
    segments: list[Segment] = field(default_factory=list)
    snapshots: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)

    def remove(self) -> None:
        self.segments.clear()


@dataclass(eq=False)
class KernelChain:
    """A chain that runs in a thread of its own, from `start`; any thread may call its methods.

    Args:
        advance: makes draws.
        state: the chain, which may have drawn before.
        adaptation: how its warm-up finds a metric.
        total: the number of its draws, those of the warm-up and those made before included.
        spool: for one whose draws are stored; they are kept until `blocks` has handed them over.
        multiple: snapshots of the state are taken after this many draws, or a multiple.
        ended: called in its thread when it has nothing more to do.
    """

    advance: Advance
    state: State
    adaptation: Adaptation
    total: int
    spool: Handed | None = None
    multiple: int = 1
    ended: Callable[[], None] | None = None
    _done: bool = field(default=False, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _stop: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64), init=False)
    _stopping: bool = field(default=False, init=False)
    _paused: bool = field(default=False, init=False)
    _turn: threading.Condition = field(default_factory=threading.Condition, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _before: int = field(default=0, init=False)
    _q: Array = field(default_factory=lambda: np.empty((0, 0)), init=False)
    _records: NDArray[np.void] = field(default_factory=lambda: np.empty(0, RECORD), init=False)

    def start(self) -> KernelChain:
        """Begin to draw."""
        self._before = int(self.state.head["draw"])
        if self.spool is None:
            rest = max(0, self.total - self._before)
            self._q, self._records = np.empty((rest, len(self.state.point))), np.zeros(rest, RECORD)
        self._thread = threading.Thread(target=self._work, name="sursum chain", daemon=True)
        self._thread.start()
        return self

    # What it does.

    def _work(self) -> None:
        try:
            while not self._stopping and (draw := int(self.state.head["draw"])) < self.total:
                if self._has_room():
                    self._make(self._segment(draw))
        except BaseException as error:
            self._error = error
        finally:
            self._done = True
            if self.ended is not None:
                self.ended()

    def _has_room(self) -> bool:
        """Whether not too many blocks wait to be stored; waits a little where they do."""
        with self._turn:
            full = self.spool is not None and len(self.spool.segments) >= MOST_BLOCKS
            if full and not self._stopping:
                self._turn.wait(SECONDS)
            return not full

    def _segment(self, draw: int) -> Segment:
        """Room for the next draws, which end with the phase, at a look back, or where a block is full."""
        warmup, n = int(self.state.head["num_warmup"]), len(self.state.point)
        look = self.adaptation.until(draw) if draw < warmup else None
        end = look or (warmup if draw < warmup else self.total)
        if self.spool is None:
            here = slice(draw - self._before, end - self._before)
            q, records = self._q[here], self._records[here]
        else:
            if look is None:
                most = max(1, min(MOST, MOST_BYTES // max(1, 8 * n)))
                end = min(end, draw + max(1, most // self.multiple) * self.multiple)
            q, records = np.empty((end - draw, n)), np.zeros(end - draw, RECORD)
        segment = Segment(draw, q, records, None if look is None else np.empty((len(q), int(self.state.head["dim"]))))
        if self.spool is not None:
            self.spool.segments.append(segment)
        return segment

    def _make(self, segment: Segment) -> None:
        pace = segment.length if self.spool is None else self.multiple
        while segment.made < segment.length:
            with self._turn:
                while self._paused and not self._stopping:
                    self._turn.wait()
                if self._stopping:
                    return
                self._stop[0] = GO_ON
            rest, made = slice(segment.made, segment.length), segment.made
            gradients = None if segment.gradients is None else segment.gradients[rest]
            count = min(pace, segment.length - made)
            began = time.monotonic()
            done = self.advance(self.state, count, self._stop, segment.q[rest], gradients, segment.records[rest])
            segment.made += done
            if self.spool is not None and done == count:
                if segment.gradients is None:
                    self.spool.snapshots.append((segment.begin + segment.made, self.state.copy()))
                many = SECONDS / max(time.monotonic() - began, 1e-9) * count
                pace = int(min(max(many // self.multiple, 1), MOST)) * self.multiple
        if segment.gradients is not None:
            self.state = self.adaptation.look(self.state, segment.q[:, : segment.gradients.shape[1]], segment.gradients)
            if self.spool is not None:
                self.spool.snapshots.append((segment.begin + segment.made, self.state.copy()))

    # What others may ask.

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        head = self.state.head
        draws = int(head["draw"])
        warming = draws < int(head["num_warmup"])
        return Progress(draws, int(head["divergences"]), int(head["steps"]), float(head["step_size"]), warming)

    def finished(self) -> bool:
        """Whether it has drawn everything.

        Raises:
            BaseException: the original exception of the log density.
        """
        self._raise()
        return self._done or self._thread is None

    def pause(self) -> None:
        """Pause after the current draw."""
        with self._turn:
            self._paused = True
            self._stop[0] = REST

    def resume(self) -> None:
        """Continue after `pause`."""
        with self._turn:
            self._paused = False
            self._turn.notify_all()

    def stop(self) -> None:
        """Stop; the draws so far are kept."""
        self._halt()
        self._raise()

    def cancel(self) -> None:
        """Stop: an error has already occurred, or the draws have been taken."""
        self._halt()

    def end(self) -> None:
        """Wait until it has finished."""
        if self._thread is not None:
            self._thread.join()
        self._raise()

    def _halt(self) -> None:
        with self._turn:
            self._stopping = True
            self._stop[0] = NOW
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()

    def trace(self) -> ChainTrace:
        """The draws so far. Not for a chain with a spool."""
        self._raise()
        made = int(self.state.head["draw"]) - self._before
        q, records = self._q[:made], self._records[:made]
        warm = min(made, max(0, int(self.state.head["num_warmup"]) - self._before))
        return ChainTrace(q, statistics(records), warm)

    def blocks(self, most: int | None = None) -> Iterator[Block]:
        """The draws that were made since the last call, in at most this many blocks."""
        spool, count = self.spool, 0
        while spool is not None and spool.segments and count != most:
            segment = spool.segments[0]
            made = segment.made if segment.made == segment.length else self._count_handed_over(segment)
            rows = slice(max(spool.taken - segment.begin, 0), made)
            if rows.start < rows.stop:
                phase = "warmup" if segment.begin < int(self.state.head["num_warmup"]) else "sample"
                yield Block(phase, segment.q[rows], statistics(segment.records[rows]))
                spool.taken = segment.begin + made
                count += 1
            if made < segment.length:
                return
            with self._turn:
                spool.segments.pop(0)
                self._turn.notify_all()

    def waiting(self) -> int:
        """How many draws wait to be stored."""
        return 0 if self.spool is None else max(0, int(self.state.head["draw"]) - self.spool.taken)

    def snapshot(self) -> NDArray[np.uint8] | None:
        """The newest state whose draws have all been handed over, once; None where there is no new one."""
        if self.spool is None:
            return None
        found = None
        while self.spool.snapshots and self.spool.snapshots[0][0] <= self.spool.taken:
            found = self.spool.snapshots.pop(0)[1]
        return found

    def _count_handed_over(self, segment: Segment) -> int:
        """How many draws of a segment that is being made are complete: those before the draw at which the chain is."""
        return min(max(int(self.state.head["draw"]) - segment.begin, 0), segment.length)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
