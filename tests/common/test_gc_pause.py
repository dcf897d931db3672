"""The collector waits for as long as anybody asks for it, and goes on as it was."""

import gc
import threading

import pytest

import sursum as su
import sursum.distributions as dist
from sursum.common.gc_pause import pause_collection


def test_nested_and_left_by_an_error_it_goes_on_after_the_last_one() -> None:
    assert gc.isenabled()

    def fail() -> None:
        with pause_collection():
            with pause_collection():
                assert not gc.isenabled()
            assert not gc.isenabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()


def test_who_has_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with pause_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_threads_that_overlap_restore_it_once() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with pause_collection():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with pause_collection():
        thread.start()
        inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_a_compilation_collects_nothing_and_restores_it() -> None:
    seen = []

    def model() -> None:
        seen.append(gc.isenabled())
        su.sample("z", dist.Normal(0.0, 1.0))

    su.compile(model, engine="torch")
    assert len(seen) > 3
    assert not any(seen)
    assert gc.isenabled()
