"""Checks of settings. A whole number is an int, or NumPy's or torch's, and nothing that only looks like one; a real number is
Python's or NumPy's."""

from __future__ import annotations

import math
import numbers
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


def is_real(value: Any) -> bool:
    """Whether `value` is a real number of Python's or NumPy's; True and False are none.

    Example:
        >>> import numpy as np
        >>> is_real(1), is_real(np.float32(1.0)), is_real(True), is_real("1")
        (True, True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def real_number(
    name: str,
    value: Any,
    error: type[SursumError],
    remedy: str,
    *,
    above: float = -math.inf,
    least: float | None = None,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """`value` as a float.

    Args:
        name: the name of the setting.
        error: the class of the error raised for anything else.
        remedy: what to do, as a clause.
        above, below: bounds that are not allowed themselves.
        least: the smallest value that is allowed.
        finite: whether infinity is refused.

    Example:
        >>> from sursum.errors import SamplingError
        >>> real_number("step_size", 1, SamplingError, "leave it out", above=0)
        1.0
        >>> real_number("jitter", -1.0, SamplingError, "0.1 is usual", least=0)
        Traceback (most recent call last):
        sursum.errors.SamplingError: `jitter` is -1.0, but must be a number of at least 0: 0.1 is usual.
    """
    low = is_real(value) and (value > above if least is None else value >= least)
    holds = low and (value < below or (value == below == math.inf and not finite))
    bounds = [f"at least {least:g}"] if least is not None else [f"above {above:g}"] if above > -math.inf else []
    bounds += [f"below {below:g}"] if below < math.inf else []
    expected = "a number" + (" of " if least is not None else " " if bounds else "") + " and ".join(bounds)
    check_setting(name, holds, value, expected if bounds else "a finite number", error, remedy)
    return float(value)


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
