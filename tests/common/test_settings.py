"""Checks of settings."""

import numpy as np
import pytest
import torch

from sursum.common.settings import check_setting, optional_seed, whole_number
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
