"""`WorkerPool`: processes of this machine that work for all threads of this one.

Each process is an executor of its own. One that dies takes nothing with it but the item that it had, which alone has had one
attempt more, and no thread ever meets the broken pool of another.
"""

from __future__ import annotations

import functools
import gc
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from sursum.cluster.transport import REMEMBERED, Parcel, perform
from sursum.cluster.workers import ATTEMPTS, Lost
from sursum.common.optional_packages import require

IDLE = 300
"""Seconds after which idle workers end. Until then, the next study uses them again: a new one imports torch first."""


def _new_executor() -> Any:
    loky = require("loky", "Work in other processes")
    return loky.ProcessPoolExecutor(1, timeout=IDLE, env={"OMP_NUM_THREADS": "1"}, initializer=_begin)


def _begin() -> None:
    """In a worker, before its first item: Ctrl-C at a terminal goes to all processes, and what is done then is for the one that
    has the program. What has been imported is left out of garbage collections, which loky asks for once a second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()


@dataclass(eq=False)
class _Worker:
    """A process, and the keys of tasks that it knows."""

    executor: Any
    known: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def submit(self, parcel: Parcel, item: bytes) -> Future[bytes]:
        """Give it an item, with the task if it does not know it."""
        packed = None if parcel.key in self.known else parcel.packed
        sent: Future[bytes] = self.executor.submit(_perform, parcel.key, packed, item)
        if packed is not None:
            self.known.append(parcel.key)
        return sent


@dataclass(eq=False)
class _Job:
    parcel: Parcel
    item: bytes
    future: Future[bytes | Lost] = field(default_factory=Future)
    attempts: int = 0
    worker: _Worker | None = None


@dataclass(eq=False)
class WorkerPool:
    """At most `size` workers at once, which are started when there is work for them; any thread may call the methods.

    Args:
        idle: workers without work, of all pools of this process.
        start: makes the executor of a new worker.
    """

    size: int
    idle: deque[_Worker] = field(default_factory=deque)
    start: Callable[[], Any] = _new_executor
    _waiting: deque[_Job] = field(default_factory=deque, init=False)
    _running: set[_Job] = field(default_factory=set, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    @classmethod
    def of(cls, size: int) -> WorkerPool:
        """The pool of this size, the same for all threads.

        Raises:
            MissingPackageError: loky is not installed.
        """
        require("loky", "Work in other processes")
        with _MAKING:
            return _pool(size, os.getpid())

    def submit(self, parcel: Parcel, item: bytes) -> Future[bytes | Lost]:
        """The result of `perform`, later; `Lost` for an item whose workers died."""
        job = _Job(parcel, item)
        with self._lock:
            self._waiting.append(job)
            self._fill()
        return job.future

    def drop(self, futures: Collection[Future[bytes | Lost]]) -> None:
        """Forget these: what waits is never begun, and the worker of what runs is killed. The others are not touched."""
        with self._lock:
            self._waiting = deque(job for job in self._waiting if job.future not in futures)
            for job in [job for job in self._running if job.future in futures]:
                self._running.discard(job)
                if job.worker is not None:
                    job.worker.executor.shutdown(wait=False, kill_workers=True)
            self._fill()

    def _fill(self) -> None:
        """Begin what waits, while there is room. The lock is held."""
        while self._waiting and len(self._running) < self.size:
            job = self._waiting.popleft()
            self._running.add(job)
            try:
                self._begin(job)
            except Exception as error:  # no process can be started
                self._running.discard(job)
                job.future.set_exception(error)
            except BaseException:  # Ctrl-C, which may have come while the job of another thread was begun
                self._running.discard(job)
                self._waiting.appendleft(job)
                raise

    def _begin(self, job: _Job) -> None:
        while self.idle:
            try:
                self._give(job, self.idle.pop())
                return
            except (IndexError, BrokenProcessPool):  # another pool took it; or it died while it was idle, which is no attempt
                continue
        self._give(job, _Worker(self.start()))

    def _give(self, job: _Job, worker: _Worker) -> None:
        sent = worker.submit(job.parcel, job.item)
        job.worker = worker
        sent.add_done_callback(lambda done: self._ended(job, worker, done))

    def _ended(self, job: _Job, worker: _Worker, done: Future[bytes]) -> None:
        """Called in a thread of the executor's."""
        with self._lock:
            if job not in self._running:  # it was dropped
                return
            self._running.discard(job)
            job.worker, error = None, done.exception()
            if isinstance(error, BrokenProcessPool):
                job.attempts += 1
                if job.attempts < ATTEMPTS:
                    self._waiting.appendleft(job)
                else:
                    job.future.set_result(Lost(f"its worker ended {ATTEMPTS} times, the last time so: {_account(error)}"))
            else:
                self.idle.append(worker)
                if isinstance(error, _NotKnown):  # after an idle time it is a new process, which does not know what the old did
                    worker.known.clear()
                    self._waiting.appendleft(job)
                elif error is None:
                    job.future.set_result(done.result())
                else:
                    job.future.set_exception(error)
            self._fill()


_MAKING = threading.Lock()


@functools.cache
def _pool(size: int, process: int) -> WorkerPool:
    """Of one process: after a fork there are no workers yet."""
    return WorkerPool(size, _idle(process))


@functools.cache
def _idle(process: int) -> deque[_Worker]:
    return deque()


def _perform(key: bytes, packed: bytes | None, item: bytes) -> bytes:
    """In a worker: `perform`."""

    def given() -> bytes:
        if packed is None:
            raise _NotKnown
        return packed

    return perform(key, given, item)


class _NotKnown(Exception):
    """Of a worker, which needs the bytes of the task."""


def _account(error: BaseException) -> str:
    """How a worker ended: its signal or exit code, if it is known."""
    code = re.search(r"exit codes of the workers are \{(.+?)\}", str(error))
    lines = str(error).strip().splitlines()
    return f"exit code {code[1]}" if code else lines[0] if lines else type(error).__name__
