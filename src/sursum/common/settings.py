"""Checks of settings. A whole number is an int, or NumPy's or torch's, and nothing that only looks like one."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sursum.common.shown import abbreviate
from sursum.errors import SursumError


def whole_number(name: str, value: Any, least: int, error: type[SursumError], remedy: str) -> int:
    """`value` as an int.

    Args:
        name: the name of the setting.
        least: the smallest value that is allowed.
        error: the class of the error raised for anything else.
        remedy: what to do, as a clause.

    Example:
        >>> import numpy as np
        >>> from sursum.errors import SamplingError
        >>> whole_number("num_chains", np.int64(4), 1, SamplingError, "4 is usual")
        4
        >>> whole_number("num_chains", 4.0, 1, SamplingError, "4 is usual")
        Traceback (most recent call last):
        sursum.errors.SamplingError: `num_chains` is 4.0, but must be an integer of at least 1: 4 is usual.
    """
    found = _index(value)
    holds = found is not None and found >= least
    check_setting(name, holds, value, f"an integer of at least {least}", error, remedy)
    return cast(int, found)


def optional_seed(value: Any, error: type[SursumError]) -> int | None:
    """`value` as a seed: None, or an int of at least 0."""
    if value is None:
        return None
    return whole_number("seed", value, 0, error, "leave it out for one from torch's global generator")


def check_setting(name: str, holds: bool, value: Any, expected: str, error: type[SursumError], remedy: str) -> None:
    """Raise unless `holds`.

    Args:
        name: of the setting.
        value: that was given.
        expected: what it must be, "a kernel".
        error: what is raised.
        remedy: what to do, a clause.

    Example:
        >>> from sursum.errors import SamplingError
        >>> check_setting("progress", False, "yes", "True, False or None", SamplingError, "leave it out")
        Traceback (most recent call last):
        sursum.errors.SamplingError: `progress` is 'yes', but must be True, False or None: leave it out.
    """
    if not holds:
        raise error(f"`{name}` is {abbreviate(value)}, but must be {expected}: {remedy}.")


def _index(value: Any) -> int | None:
    """The integer that `value` is; True and False are none."""
    if isinstance(value, (bool, np.bool_)) or (
        isinstance(value, Tensor) and (value.dim() or value.is_floating_point() or value.dtype is torch.bool)
    ):
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):
        return None


def settle(settings: object, values: Mapping[str, Any]) -> None:
    """Set fields of a frozen class of settings during construction."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)
