"""Programs as bytes: what can be sent, and errors that name what cannot."""

from __future__ import annotations

import functools
import threading

import pytest
import torch

from sursum.cluster.transport import pack, unpack, unpack_task
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


def test_what_is_remembered_is_the_value_of_the_same_bytes():
    packed = pack([1], "a list")
    assert unpack_task(packed) is unpack_task(packed)
    assert unpack(packed) is not unpack(packed)
