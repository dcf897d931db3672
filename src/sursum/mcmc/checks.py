"""Checks of a sampler's settings: every message says which setting, what was expected and found, and what to do."""

from __future__ import annotations

from typing import Any

from sursum.errors import SamplingError


def setting(name: str, holds: bool, found: Any, expected: str, remedy: str) -> None:
    """Raise unless `holds`.

    Example:
        >>> setting("num_chains", False, 0, "an integer of 1 or more", "4 is usual")
        Traceback (most recent call last):
        sursum.errors.SamplingError: `num_chains` is 0, but must be an integer of 1 or more: 4 is usual.
    """
    if not holds:
        raise SamplingError(f"`{name}` is {found!r}, but must be {expected}: {remedy}.")


def positive_integer(name: str, found: Any, remedy: str) -> None:
    setting(name, _is_integer(found) and found >= 1, found, "an integer of 1 or more", remedy)


def natural_number(name: str, found: Any, remedy: str) -> None:
    setting(name, _is_integer(found) and found >= 0, found, "an integer of 0 or more", remedy)


def _is_integer(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)
