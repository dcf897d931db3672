"""A local Ray cluster of two CPUs: results, errors, and workers that are killed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from tests.support.local_ray import local_ray

from sursum.cluster import Lost, Ray
from sursum.errors import OptionError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def place():
    with local_ray():
        yield Ray()


@pytest.mark.slow
def test_every_item_has_its_result_though_a_worker_is_killed(place, tmp_path):
    def task(n):
        if n == 3 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n

    assert dict(place.map(task, range(6))) == {n: n * n for n in range(6)}
    with pytest.raises(ZeroDivisionError):
        list(place.map(lambda n: 1 // n, [1, 0]))
    call = place.sent(lambda n: n + 1)
    assert call(1) == 2
    with pytest.raises(ZeroDivisionError):
        place.sent(lambda n: 1 // n)(0)


@pytest.mark.slow
def test_a_task_is_sent_once_and_unpacked_once_a_worker(place, tmp_path, monkeypatch):
    puts, whole = [], ray.put

    def put(value):
        puts.append(len(value))
        return whole(value)

    monkeypatch.setattr(ray, "put", put)

    class Unpacked:
        def __setstate__(self, state):
            self.__dict__ = state
            with open(self.folder / "unpacked", "a") as file:
                file.write(f"{os.getpid()}\n")

        def __call__(self, n):
            return os.getpid()

    task = Unpacked()
    task.folder, task.data = tmp_path, np.zeros(100_000)
    call = place.sent(task)
    workers = {call(n) for n in range(5)} | set(dict(place.map(task, range(8))).values())
    assert len(puts) == 2  # by `sent` and by `map`
    assert min(puts) > 800_000
    assert sorted((tmp_path / "unpacked").read_text().split()) == sorted(map(str, workers))


@pytest.mark.slow
def test_an_item_that_kills_every_worker_is_lost_alone(place):
    def task(n):
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    found = dict(place.map(task, range(4)))
    assert isinstance(found.pop(2), Lost)
    assert found == {0: 0, 1: 1, 3: 3}


@pytest.mark.parametrize("settings", [{"cpus_per_chain": 0}, {"cpus_per_chain": "all"}, {"address": 6379}])
def test_bad_settings(settings):
    with pytest.raises(OptionError, match=next(iter(settings))):
        Ray(**settings)
