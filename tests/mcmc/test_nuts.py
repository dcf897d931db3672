"""The settings of the No-U-Turn sampler: what is kept, and what is said of what cannot be."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from sursum.errors import SamplingError
from sursum.mcmc import NUTS


def program():
    """Never run."""


def test_what_is_usual():
    found = NUTS(program)
    assert (found.model, found.target_accept, found.max_tree_depth, found.metric) == (program, 0.8, 10, "auto")
    with pytest.raises(FrozenInstanceError):
        found.target_accept = 0.9


def test_whole_numbers_of_numpy_become_pythons():
    found = NUTS(program, max_tree_depth=np.int64(7)).max_tree_depth
    assert (found, type(found)) == (7, int)


METRICS = "'auto', 'diagonal', 'low_rank', 'dense', variances (n,), a covariance (n, n), a Posterior, or an SVI"


@pytest.mark.parametrize(
    ("setting", "found", "expected"),
    [
        ("target_accept", 1.0, "a probability strictly between 0 and 1"),
        ("target_accept", 0, "a probability strictly between 0 and 1"),
        ("target_accept", True, "a probability strictly between 0 and 1"),
        ("target_accept", "0.8", "a probability strictly between 0 and 1"),
        ("max_tree_depth", 0, "an integer of at least 1"),
        ("max_tree_depth", 2.5, "an integer of at least 1"),
        ("metric", "full", METRICS),
        ("metric", 1.0, METRICS),
        ("model", 3, "a program, a callable"),
    ],
)
def test_settings_out_of_range(setting, found, expected):
    settings = {"model": program} | {setting: found}
    with pytest.raises(SamplingError, match=re.escape(f"`{setting}` is {found!r}, but must be {expected}: ")):
        NUTS(**settings)


def test_names_of_other_libraries_are_answered():
    with pytest.raises(TypeError, match="target_accept"):
        NUTS(program, adapt_delta=0.9)
    with pytest.raises(TypeError, match="the warm-up adapts it"):
        NUTS(program, step_size=0.1)
