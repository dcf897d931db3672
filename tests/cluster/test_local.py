"""Worker processes on this machine: results, errors, and workers that are killed."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sursum.cluster import Local, Lost
from sursum.cluster.worker_pool import WorkerPool
from sursum.errors import OptionError

WORKERS = Local(num_workers=2)


def test_every_item_has_its_result():
    assert dict(WORKERS.map(lambda n: n * n, range(20))) == {n: n * n for n in range(20)}
    assert dict(WORKERS.map(lambda n: n, [])) == {}


def test_work_is_done_elsewhere_and_by_one_thread():
    for process, threads in dict(WORKERS.map(lambda n: (os.getpid(), os.environ["OMP_NUM_THREADS"]), [0, 1])).values():
        assert process != os.getpid()
        assert threads == "1"


def test_collections_of_garbage_leave_out_what_was_imported():
    """loky asks for one after each second of work: of all that torch brings along it takes a tenth of it."""
    left = dict(WORKERS.map(lambda _: (gc.get_freeze_count(), len(gc.get_objects())), [0]))[0]
    assert left[0] > 2 * left[1]


def test_an_error_of_the_task_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(WORKERS.map(lambda n: 1 // n, [1, 0]))
    assert dict(WORKERS.map(lambda n: n, [5, 6])) == {0: 5, 1: 6}


@pytest.mark.slow
def test_an_item_whose_worker_is_killed_once_is_done_again(tmp_path):
    def task(n):
        if n == 3 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    assert dict(WORKERS.map(task, range(6))) == {n: n for n in range(6)}


class Unpacked:
    """A task that notes where it is unpacked, and by which process each item was done."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__ = state
        with open(self.folder / "unpacked", "a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, n):
        return os.getpid()


def test_a_sent_task_is_called_from_threads_and_unpacked_once_a_worker(tmp_path):
    call = WORKERS.sent(Unpacked(tmp_path))
    with ThreadPoolExecutor(5) as threads:
        workers = set(threads.map(call, range(20)))
    assert len(workers) <= 2
    assert os.getpid() not in workers
    assert sorted((tmp_path / "unpacked").read_text().split()) == sorted(map(str, workers))
    with pytest.raises(ZeroDivisionError):
        WORKERS.sent(lambda n: 1 // n)(0)


@pytest.mark.slow
def test_kills_while_several_threads_call(tmp_path):
    main, over, killed = os.getpid(), threading.Event(), []

    def task(n):
        if os.getpid() != main:
            (tmp_path / str(os.getpid())).touch()
        time.sleep(0.05)
        return n * n

    def kill_some():
        rng = np.random.default_rng(0)
        while not over.wait(rng.uniform(0.3, 0.6)) and len(killed) < 6:
            if alive := sorted({int(file.name) for file in tmp_path.iterdir()} - set(killed)):
                killed.append(int(rng.choice(alive)))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_some)
    killer.start()
    call = Local(num_workers=3).sent(task)
    try:
        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(call, range(200))) == [n * n for n in range(200)]
    finally:
        over.set()
        killer.join()
    assert len(killed) > 1
    # No process is there beside those that can be used again.
    started = {int(file.name) for file in tmp_path.iterdir()} - set(killed)
    assert len(started) <= len(WorkerPool.of(3).idle) <= 3


@pytest.mark.slow
def test_a_call_that_kills_every_worker_is_lost():
    assert isinstance(WORKERS.sent(lambda n: os.kill(os.getpid(), n))(signal.SIGKILL), Lost)


@pytest.mark.slow
def test_an_item_that_kills_every_worker_is_lost_alone():
    def task(n):
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return n

    found = dict(WORKERS.map(task, range(6)))
    lost = found.pop(2)
    assert isinstance(lost, Lost)
    assert "ended 3 times" in lost.reason
    assert found == {n: n for n in range(6) if n != 2}


@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_how_many_workers(number):
    with pytest.raises(OptionError, match="num_workers"):
        Local(num_workers=number)
