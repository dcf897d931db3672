"""What settings print as: the call that makes them, short, and without addresses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sursum.common.reprs import call_text, text
from sursum.common.shown import LONGEST


def program():
    """Never run."""


@dataclass
class Method:
    model: object
    steps: int = 10
    seed: object = None


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (Method(program), "Method(program)"),
        (Method(program, 5), "Method(program, 5)"),
        (Method(program, seed=3), "Method(program, seed=3)"),
        (Method(program, 10, 3), "Method(program, seed=3)"),
        (Method(program, 10.0), "Method(program, 10.0)"),
        (Method(Method, True), "Method(Method, True)"),
    ],
)
def test_a_call(thing, expected):
    assert call_text(thing) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.zeros(2), "a tensor of shape (2,) of torch.float32"),
        (np.zeros(2), "an array of shape (2,) of float64"),
        (partial(program, 1, k=program), "partial(program, 1, k=program)"),
        (nn.Linear(2, 1), "Linear"),
        (len, "len"),
        ({"a": program, "b": 1}, "{'a': program, 'b': 1}"),
        ([program, (1,)], "[program, (1,)]"),
        (object(), "object"),
        ("x" * 300, "'" + "x" * (LONGEST - 2) + "…"),
    ],
)
def test_a_value(value, expected):
    assert text(value) == expected


def test_many_are_cut():
    assert text([1, 2, 3, 4, 5, 6]) == "[1, 2, 3, 4, …]"
    assert text([1, 2, 3, 4]) == "[1, 2, 3, 4]"
