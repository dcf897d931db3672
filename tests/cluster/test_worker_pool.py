"""The pool of workers, which are threads here and die as a test wants: what dies is done again, and nothing else."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np
import pytest

from sursum.cluster.transport import Parcel, pack, unpack
from sursum.cluster.worker_pool import WorkerPool
from sursum.cluster.workers import ATTEMPTS, Lost


class Killed(BaseException):
    """Raised by a task that ends its worker."""


@dataclass(eq=False)
class Worker:
    """An executor of one process, which is a thread for each item."""

    dead: bool = False
    given: list[bool] = field(default_factory=list)
    running: Future | None = None

    def submit(self, perform, key, packed, item):
        if self.dead:
            raise BrokenProcessPool("it is dead")
        assert self.running is None or self.running.done(), "two items at once"
        self.given.append(packed is not None)
        self.running = future = Future()

        def work():
            try:
                found = perform(key, packed, item)
            except Killed:
                self.dead = True
                answer = BrokenProcessPool("The exit codes of the workers are {SIGKILL(-9)}")
                future.set_exception(answer)
            except Exception as error:
                future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(found)

        threading.Thread(target=work).start()
        return future

    def shutdown(self, wait, kill_workers):
        assert kill_workers
        self.dead = True
        if not self.running.done():
            self.running.set_exception(RuntimeError("it was shut down"))


@pytest.fixture
def started():
    return []


def pool_of(size, started):
    def start():
        started.append(Worker())
        return started[-1]

    return WorkerPool(size, start=start)


def call(pool, parcel, item):
    found = pool.submit(parcel, pack(item, "the item")).result(20)
    return found if isinstance(found, Lost) else unpack(found)


# Tasks are looked up by name, so that what they count is here.
DONE: Counter = Counter()
HOLD = threading.Event()


def counted(item):
    DONE[item] += 1
    if item < 0:
        raise Killed
    return item * item


def test_an_item_that_kills_its_workers_is_lost_alone(started):
    DONE.clear()
    pool = pool_of(3, started)
    items = [*range(20), -1, *range(20, 30), -2]
    with ThreadPoolExecutor(6) as threads:
        found = dict(zip(items, threads.map(lambda item: call(pool, Parcel.of(counted), item), items), strict=True))
    for item in (-1, -2):
        assert found.pop(item) == Lost(f"its worker ended {ATTEMPTS} times, the last time so: exit code SIGKILL(-9)")
    assert found == {n: n * n for n in range(30)}
    assert {DONE.pop(-1), DONE.pop(-2)} == {ATTEMPTS}
    assert set(DONE.values()) == {1}
    assert len(started) <= 3 + 2 * ATTEMPTS


@dataclass
class Dying:
    """A task that kills its worker in some of its calls, and sees how many work at once."""

    seed: int

    def __call__(self, item):
        with LOCK:
            WORK["now"] += 1
            WORK["most"] = max(WORK["most"], WORK["now"])
            DONE[item] += 1
            dies = RNG.random() < 0.25
        try:
            if dies:
                raise Killed
            return item + self.seed
        finally:
            with LOCK:
                WORK["now"] -= 1
                WORK["deaths"] += dies


LOCK, WORK, RNG = threading.Lock(), Counter(), np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_among_threads(started, seed):
    DONE.clear(), WORK.clear()
    pool = pool_of(4, started)
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda item: call(pool, Parcel.of(Dying(seed)), item), range(120)))
    lost = [item for item, one in enumerate(found) if isinstance(one, Lost)]
    assert [one for one in found if not isinstance(one, Lost)] == [n + seed for n in range(120) if n not in lost]
    assert all(DONE[item] == ATTEMPTS for item in lost)
    assert len(lost) < 15  # 1 in 64 are expected, of 120
    assert WORK["most"] <= 4
    # A worker is replaced when it has died, and not otherwise; and none is left over.
    assert len(started) <= 4 + WORK["deaths"]
    assert len(pool.idle) == len(started) - WORK["deaths"] <= 4


def holding(item):
    if item == "hold":
        HOLD.wait(20)
    return item


def test_what_is_dropped_takes_nothing_else_with_it(started):
    HOLD.clear()
    pool, parcel = pool_of(2, started), Parcel.of(holding)
    mine, other = (pool.submit(parcel, pack("hold", "an item")) for _ in range(2))
    waiting, later = (pool.submit(parcel, pack(name, "an item")) for name in ("dropped", "later"))
    pool.drop([mine, waiting])
    assert unpack(later.result(20)) == "later"  # in the place of the one that was dropped
    HOLD.set()
    assert unpack(other.result(20)) == "hold"
    assert not waiting.done()
    assert [one.dead for one in started] == [True, False, False]


def test_a_worker_that_died_while_it_was_idle_is_no_attempt(started):
    DONE.clear()
    pool = pool_of(2, started)
    for n in range(2 * ATTEMPTS):
        assert call(pool, Parcel.of(counted), n) == n * n
        started[-1].dead = True
    assert len(started) == 2 * ATTEMPTS
    assert set(DONE.values()) == {1}


def test_a_task_is_sent_to_a_worker_once_and_again_if_it_is_not_known(started):
    pool, parcel = pool_of(1, started), Parcel(b"a key of this test", pack(abs, "the task"))
    assert [call(pool, parcel, -n) for n in range(4)] == [0, 1, 2, 3]
    assert started[0].given == [True, False, False, False]
    # As after an idle time, where the process is a new one.
    pool.idle[0].known.append(b"another key of this test")
    assert call(pool, Parcel(b"another key of this test", parcel.packed), -4) == 4
    assert started[0].given[4:] == [False, True]


def test_an_error_is_raised_and_the_worker_works_on(started):
    pool, parcel = pool_of(1, started), Parcel.of(lambda n: 1 // n)
    with pytest.raises(ZeroDivisionError):
        call(pool, parcel, 0)
    assert call(pool, parcel, 1) == 1
    assert len(started) == 1


def test_where_no_process_can_be_started_that_is_said():
    def start():
        raise OSError("no more processes")

    pool = WorkerPool(2, start=start)
    futures = [pool.submit(Parcel.of(counted), pack(1, "an item")) for _ in range(3)]
    assert not wait(futures, 20).not_done
    for future in futures:
        with pytest.raises(OSError, match="no more processes"):
            future.result()


def test_threads_share_the_pool_of_a_size():
    pytest.importorskip("loky")
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: WorkerPool.of(os.getpid() + 7), range(16)))
    assert len(found) == 1
    assert next(iter(found)).idle is WorkerPool.of(2).idle
