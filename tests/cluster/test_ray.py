"""A local Ray cluster of two CPUs: results, errors, and workers that are killed."""

from __future__ import annotations

import os
import signal

import pytest

from sursum.cluster import Lost, Ray
from sursum.errors import OptionError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def place():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield Ray()
    ray.shutdown()


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
