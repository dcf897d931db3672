"""Checks of settings."""

import numpy as np
import pytest
import torch

from sursum.common.settings import check_setting, optional_seed, real_number, whole_number
from sursum.errors import SamplingError, VariationalError

LIKE_WHOLE = (True, False, 3.0, "3", None, [3], 0, -1, np.float64(3), np.bool_(True))
TENSORS = (torch.tensor(3.0), torch.tensor([3]), torch.tensor(True))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor(3, dtype=torch.int32)])
def test_whole_numbers_of_all_kinds_become_ints(value):
    found = whole_number("n", value, 1, SamplingError, "1 is usual")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [*LIKE_WHOLE, *TENSORS])
def test_what_only_looks_like_a_whole_number_is_refused(value):
    with pytest.raises(VariationalError, match=r"^`n` is .*, but must be an integer of at least 1: 1 is usual\.$"):
        whole_number("n", value, 1, VariationalError, "1 is usual")


def test_seeds():
    assert optional_seed(None, SamplingError) is None
    assert optional_seed(np.int64(0), SamplingError) == 0
    with pytest.raises(SamplingError, match=r"`seed` is -1, but must be an integer of at least 0: leave it out"):
        optional_seed(-1, SamplingError)


def test_other_settings():
    check_setting("n", True, 1, "2", SamplingError, "3")
    with pytest.raises(SamplingError, match=r"^`n` is 1, but must be 2: 3\.$"):
        check_setting("n", False, 1, "2", SamplingError, "3")


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        ({"above": 0}, 0, "a number above 0"),
        ({"above": 0}, np.inf, "a number above 0"),
        ({"above": 0, "finite": False}, -np.inf, "a number above 0"),
        ({"least": 0}, -1e-9, "a number of at least 0"),
        ({"least": 0, "below": 1}, 1.0, "a number of at least 0 and below 1"),
        ({"above": 0, "below": 1, "finite": False}, np.inf, "a number above 0 and below 1"),
        ({}, np.inf, "a finite number"),
    ],
)
def test_real_numbers_outside_their_bounds_are_refused(bounds, value, expected):
    for wrong in (value, np.nan, True, "1", None, torch.tensor(0.5)):
        with pytest.raises(SamplingError, match=rf"^`x` is .*, but must be {expected}: leave it out\.$"):
            real_number("x", wrong, SamplingError, "leave it out", **bounds)


def test_real_numbers_become_floats():
    for value in (1, 1.0, np.float32(1.0), np.int64(1)):
        assert type(real_number("x", value, SamplingError, "leave it out", least=1, below=2)) is float
    assert real_number("x", np.inf, SamplingError, "leave it out", above=0, finite=False) == np.inf
