"""Worker processes on this machine: results, errors, and workers that are killed."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sursum.cluster import Local, Lost
from sursum.errors import OptionError

WORKERS = Local(num_workers=2)


def test_every_item_has_its_result():
    assert dict(WORKERS.map(lambda n: n * n, range(20))) == {n: n * n for n in range(20)}
    assert dict(WORKERS.map(lambda n: n, [])) == {}


def test_work_is_done_elsewhere_and_by_one_thread():
    # Of as many items as there are workers: for fewer, the pool would be made smaller, and the next test started another.
    for process, threads in dict(WORKERS.map(lambda n: (os.getpid(), os.environ["OMP_NUM_THREADS"]), [0, 1])).values():
        assert process != os.getpid()
        assert threads == "1"


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


def test_a_sent_task_is_called_from_threads():
    call = WORKERS.sent(lambda n: n * n)
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(call, range(6))) == [n * n for n in range(6)]
    with pytest.raises(ZeroDivisionError):
        WORKERS.sent(lambda n: 1 // n)(0)


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
