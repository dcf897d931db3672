"""Programs as bytes: what can be sent, and errors that name what cannot."""

from __future__ import annotations

import functools
import threading

import pytest
import torch

from sursum.cluster.transport import REMEMBERED, Parcel, pack, perform, unpack
from sursum.errors import TransportError

LOCK = threading.Lock()


class Holder:
    def __init__(self):
        self.file = {"open": LOCK}

    def program(self):
        return self.file


def test_lambdas_and_closures_arrive():
    weights = torch.tensor([1.0, 2.0])
    assert unpack(pack(lambda x: (weights * x).sum(), "the task"))(3.0) == 9.0


def inner():
    return LOCK.locked()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (lambda: LOCK.locked(), "`LOCK`, which is a lock,"),
        ([1, (LOCK,)], r"`\[1\].\[0\]`, which is a lock,"),
        (functools.partial(dict, file=LOCK), "`keywords.file`, which is a lock,"),
        (Holder().program, "`__self__.file.open`, which is a lock,"),
    ],
)
def test_the_error_names_the_object(value, named):
    if named.startswith("`LOCK`"):  # by value, as functions of a script and of a notebook are sent
        value.__module__ = "__main__"
    with pytest.raises(TransportError, match=f"the task cannot be sent to a worker: {named} belongs to this process"):
        pack(value, "the task")


def test_a_task_is_unpacked_once_until_others_take_its_place():
    asked = []

    def done(number):
        """By a task that counts its own calls."""
        parcel = Parcel.of(Counting(number))

        def given():
            asked.append(number)
            return parcel.packed

        return unpack(perform(parcel.key, given, pack(number, "an item")))

    assert [done(1), done(1), done(2), done(1)] == [1, 2, 1, 3]
    assert asked == [1, 2]
    for number in range(3, 3 + REMEMBERED):
        assert done(number) == 1
    assert done(1) == 1
    assert asked == [1, 2, *range(3, 3 + REMEMBERED), 1]


class Counting:
    def __init__(self, number):
        self.number, self.calls = number, 0

    def __call__(self, item):
        assert item == self.number
        self.calls += 1
        return self.calls


class TwoParts(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def test_an_error_that_cannot_travel_is_said_by_one_that_can():
    def fails(item):
        raise TwoParts(item, 2)

    with pytest.raises(TransportError, match="the task raised TwoParts, which cannot be sent back: 1 and 2"):
        perform(b"of this test", lambda: pack(fails, "the task"), pack(1, "an item"))
    with pytest.raises(TransportError, match="the result cannot be sent back: a part of it belongs to this process"):
        perform(b"of another", lambda: pack(lambda item: threading.Lock(), "the task"), pack(1, "an item"))
