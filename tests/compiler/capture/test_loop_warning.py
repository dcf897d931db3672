"""The note on long Python loops."""

import warnings

import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.capture.loop_warning import note_long_loops
from sursum.errors import EngineWarning

POINTS = torch.ones(2).double(), torch.zeros(2).double()


def long(steps):
    def run(q):
        x = q
        for _ in range(steps):
            x = x * q
        return (x,)

    return capture(run, POINTS, gradient=False)


def test_a_long_loop_is_noted_and_a_short_one_is_not(monkeypatch):
    monkeypatch.setattr("sursum.compiler.capture.loop_warning.MANY", 200)
    with pytest.warns(EngineWarning, match=r"200 of the 200 operators .* one line, test_loop_warning\.py:\d+: .* su\.scan"):
        note_long_loops(long(200))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note_long_loops(long(50))
