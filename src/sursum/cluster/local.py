"""`Local`: worker processes on this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from sursum.cluster.transport import Parcel, pack, unpack
from sursum.cluster.worker_pool import WorkerPool
from sursum.cluster.workers import Item, Lost, Result
from sursum.common.cores import available_cores
from sursum.common.settings import settle, whole_number
from sursum.errors import OptionError


@dataclass(frozen=True)
class Local:
    """Processes on this machine, started by loky. Each computes with one thread, and programs travel by cloudpickle.

    Scripts need no ``if __name__ == "__main__"``, and functions of a notebook can be sent. Workers are started when there is
    work for them, are shared by all threads, stay for the next study, and end after five idle minutes or with this process.

    Args:
        num_workers: how many may work at once; None for as many as there are cores.

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
        parcel, pool = Parcel.of(task), self._pool()
        waiting, running = deque(range(len(items))), dict[Future[bytes | Lost], int]()
        try:
            while waiting or running:
                while waiting and len(running) < 2 * pool.size:  # so that a worker that is done need not wait for this thread
                    number = waiting.popleft()
                    running[pool.submit(parcel, pack(items[number], f"item {number}"))] = number
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    yield number, _unpacked(future.result())
        finally:
            pool.drop(running)

    def sent(self, task: Callable[[Item], Result]) -> Callable[[Item], Result | Lost]:
        """See `Workers`."""
        parcel, pool = Parcel.of(task), self._pool()

        def call(item: Item) -> Result | Lost:
            found: Result | Lost = _unpacked(pool.submit(parcel, pack(item, "the item")).result())
            return found

        return call

    def _pool(self) -> WorkerPool:
        return WorkerPool.of(self.num_workers or available_cores())


def _unpacked(result: bytes | Lost) -> Any:
    return result if isinstance(result, Lost) else unpack(result)
