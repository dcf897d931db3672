"""`Local`: worker processes on this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from sursum.cluster.transport import pack, unpack, unpack_task
from sursum.cluster.workers import ATTEMPTS, Item, Lost, Result
from sursum.common.cores import available_cores
from sursum.common.optional_packages import require
from sursum.common.settings import settle, whole_number
from sursum.errors import OptionError

IDLE = 300
"""Seconds after which idle workers end. Until then, the next study uses them again: a new one imports torch first."""


@dataclass(frozen=True)
class Local:
    """Processes on this machine, started by loky. Each computes with one thread, and programs travel by cloudpickle.

    Scripts need no ``if __name__ == "__main__"``, and functions of a notebook can be sent. Workers stay for the next study,
    and end after five idle minutes or with this process.

    Args:
        num_workers: None for as many as there are cores.

    Raises:
        OptionError: fewer than one worker.
        MissingPackageError: loky is not installed.

    Example:
        >>> import sursum as su
        >>> dict(su.cluster.Local(num_workers=1).map(lambda n: n * n, [3, 4]))
        {0: 9, 1: 16}
    """

    num_workers: int | None = None

    def __post_init__(self) -> None:
        if self.num_workers is not None:
            count = whole_number("num_workers", self.num_workers, 1, OptionError, "leave it out for one a core")
            settle(self, {"num_workers": count})

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result | Lost]]:
        """See `Workers`."""
        packed, count = pack(task, "the task"), min(self.num_workers or available_cores(), max(len(items), 1))
        executor: Any = None
        waiting, suspects = deque((number, 1) for number in range(len(items))), deque[tuple[int, int]]()
        running: dict[Future[Any], tuple[int, int]] = {}
        try:
            while waiting or suspects or running:
                if executor is None:
                    executor = _executor(count)
                # What was in a pool that broke is done alone, so that an item that kills its worker takes no other with it.
                queue, limit = (suspects, 1) if suspects else (waiting, 2 * count)
                while queue and len(running) < limit:
                    number, attempt = queue.popleft()
                    sent = executor.submit(_perform, packed, pack(items[number], f"item {number}"))
                    running[sent] = number, attempt
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                broken = False
                for future in done:
                    number, attempt = running.pop(future)
                    error = future.exception()
                    if not isinstance(error, BrokenProcessPool):
                        yield number, unpack(future.result())
                        continue
                    broken = True
                    if attempt < ATTEMPTS:
                        suspects.append((number, attempt + 1))
                    else:
                        yield number, Lost(f"its worker ended {attempt} times, the last time so: {_first_line(error)}")
                if broken:
                    suspects.extend((number, attempt + 1) for number, attempt in running.values())
                    running.clear()
                    executor = None
        finally:
            if executor is not None and (waiting or suspects or running):
                executor.shutdown(wait=False, kill_workers=True)

    def sent(self, task: Callable[[Item], Result]) -> Callable[[Item], Result | Lost]:
        """See `Workers`."""
        packed, count = pack(task, "the task"), self.num_workers or available_cores()

        def call(item: Item) -> Result | Lost:
            for _ in range(ATTEMPTS):
                try:
                    found: Result = unpack(_executor(count).submit(_perform, packed, pack(item, "the item")).result())
                    return found
                except BrokenProcessPool as error:
                    reason = _first_line(error)
            return Lost(f"its worker ended {ATTEMPTS} times, the last time so: {reason}")

        return call


def _executor(count: int) -> Any:
    """The processes, which are there already if they were asked for before."""
    loky = require("loky", "Work in other processes")
    return loky.get_reusable_executor(count, timeout=IDLE, env={"OMP_NUM_THREADS": "1"})


def _perform(task: bytes, item: bytes) -> bytes:
    """In a worker: the result, as bytes, so that what it is made of need not be known to the pool."""
    return pack(unpack_task(task)(unpack(item)), "the result")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
