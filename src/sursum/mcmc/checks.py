"""Checks of a sampler's settings: every message says which setting, what was expected and found, and what to do."""

from __future__ import annotations

from typing import Any

from sursum.common.settings import whole_number
from sursum.common.shown import shown
from sursum.errors import SamplingError


def setting(name: str, holds: bool, found: Any, expected: str, remedy: str) -> None:
    """Raise unless `holds`.

    Example:
        >>> setting("num_chains", False, 0, "an integer of 1 or more", "4 is usual")
        Traceback (most recent call last):
        sursum.errors.SamplingError: `num_chains` is 0, but must be an integer of 1 or more: 4 is usual.
    """
    if not holds:
        raise SamplingError(f"`{name}` is {shown(found)}, but must be {expected}: {remedy}.")


def positive_integer(name: str, found: Any, remedy: str) -> int:
    return whole_number(name, found, 1, SamplingError, remedy)


def natural_number(name: str, found: Any, remedy: str) -> int:
    return whole_number(name, found, 0, SamplingError, remedy)
