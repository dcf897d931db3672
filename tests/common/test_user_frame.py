"""The line of the user's program: in messages, of errors, and where warnings point to."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings

import pytest
import torch
from torch import nn

import sursum as su
from sursum.common.user_frame import Lines, calling_line, is_users, raising_line, warn


def here(function, offset):
    return f"test_user_frame.py:{function.__code__.co_firstlineno + offset}"


def test_whose_code_is_whose():
    assert is_users(__file__)
    assert not is_users(su.param.__code__.co_filename)
    assert not is_users(nn.Linear.forward.__code__.co_filename)
    assert is_users("/home/user/torch/model.py")
    assert is_users("<stdin>")
    assert not is_users("<frozen importlib._bootstrap>")
    for module in (contextlib, functools, os):
        assert not is_users(module.__file__)


def test_the_innermost_line_of_the_user():
    def outer():
        return inner()

    def inner():
        return calling_line()

    assert outer() == here(inner, 1)


def test_frames_of_ours_and_of_torchs_are_passed_over():
    class Asks(nn.Module):
        def forward(self, x):
            seen.append(calling_line())
            return x

    seen = []
    line = here(test_frames_of_ours_and_of_torchs_are_passed_over, 9)
    with su.poutine.trace() as t:
        su.param("s", torch.tensor(1.0)), Asks()(1)
    assert t.trace["s"].where == line
    assert seen == [here(Asks.forward, 1)]
    compiled = compile("from sursum.common.user_frame import calling_line\nfound = calling_line()", su.__file__, "exec")
    space = {}
    exec(compiled, space)  # a frame of a file of ours
    assert space["found"] == here(test_frames_of_ours_and_of_torchs_are_passed_over, 14)


def test_where_an_error_came_through():
    def user():
        torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError) as caught:
        nn.Sequential(nn.Linear(2, 1))(torch.zeros(3))
    assert raising_line(caught.value) == here(test_where_an_error_came_through, 5)
    with pytest.raises(RuntimeError) as caught:
        user()
    assert raising_line(caught.value) == here(user, 1)
    assert raising_line(ValueError("never raised")) is None


def test_a_warning_points_to_the_user_however_deep_it_is_given():
    space = {"warn": warn}
    exec(compile("def ours():\n    warn('careful', UserWarning)\ndef deeper():\n    ours()", su.__file__, "exec"), space)
    for give in (space["ours"], space["deeper"], lambda: warn("careful", UserWarning)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            give()
        (one,) = caught
        assert (one.filename, str(one.message), one.category) == (__file__, "careful", UserWarning)
    assert one.lineno == here_line(test_a_warning_points_to_the_user_however_deep_it_is_given, 3)


def here_line(function, offset):
    return function.__code__.co_firstlineno + offset


def test_a_recorders_finder_finds_the_same_line():
    line = Lines().current()
    assert line == here(test_a_recorders_finder_finds_the_same_line, 1)
    assert functools.partial(Lines().current)() == here(test_a_recorders_finder_finds_the_same_line, 3)


def looked(lines):
    """Which blocks may catch an error here, in a `try` and in a `with` that suppresses it."""
    nothing = lines.catching()
    try:
        caught = lines.catching()
    except ValueError:
        raise
    with contextlib.suppress(ValueError):
        suppressed = lines.catching()
    return nothing, caught, suppressed


def looked_in_a_with(lines):
    with torch.no_grad():
        return lines.catching()


def test_blocks_that_may_catch_an_error_are_found():
    lines = Lines(within=sys._getframe().f_code)
    nothing, caught, suppressed = looked(lines)
    assert nothing is None
    assert looked_in_a_with(lines) is None
    assert caught is not None
    assert suppressed is not None
    assert caught[0] is suppressed[0] is looked.__code__
    assert caught[1] != suppressed[1]
