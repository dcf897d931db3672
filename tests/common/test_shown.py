"""Values in error messages: a few words, however large they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sursum.common.shown import LONGEST, abbreviate


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.zeros(2, 3), "a tensor of shape (2, 3) of torch.float32"),
        (torch.zeros(0, dtype=torch.int64), "a tensor of shape (0,) of torch.int64"),
        (torch.zeros(2, device="meta"), "a tensor of shape (2,) of torch.float32 on meta"),
        (np.zeros((4, 1), dtype=np.int16), "an array of shape (4, 1) of int16"),
        (np.array(2.5), "array(2.5)"),
        (torch.tensor(True), "tensor(True)"),
        (3.0, "3.0"),
        (None, "None"),
        ([1, "a"], "[1, 'a']"),
    ],
)
def test_a_value(value, expected):
    assert abbreviate(value) == expected


@given(
    st.one_of(
        st.text(max_size=400),
        st.lists(st.integers(), max_size=300),
        st.integers(0, 10**400),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_it_is_short(value):
    assert len(abbreviate(value)) <= 7 * LONGEST
    if len(repr(value)) <= 20:
        assert abbreviate(value) == repr(value)


def test_what_is_too_long_says_that_it_goes_on():
    class Long:
        def __repr__(self):
            return "x" * 161

    class Just:
        def __repr__(self):
            return "x" * 160

    assert abbreviate(Long()) == "x" * 159 + "…"
    assert abbreviate(Just()) == "x" * 160
    text = "a" * 200 + "z" * 200
    assert len(abbreviate(text)) == LONGEST
    assert abbreviate(text).startswith("'aaa")
    assert abbreviate(text).endswith("zzz'")
