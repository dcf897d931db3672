"""Copies of distributions with their tensors changed, however deeply they are nested.

A distribution holds tensors, other distributions (a base, a mixture's components), transforms and constraints. `rebuild`
visits them all and never modifies the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

from sursum.common.torch_private import InverseTransform
from sursum.distributions.written import KEY, as_written

_LEAVES = frozenset({bool, int, float, str, type(None), torch.Size})
"""The most common types inside a distribution: checked before the slower checks."""

_FLAT = _LEAVES | {Tensor}


def rebuild(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`part`, a distribution or something inside one, with `change(tensor)` for every tensor in it."""
    if type(part) in _LEAVES:
        return part
    if isinstance(part, Tensor):
        return change(part)
    if isinstance(part, (list, tuple)) and not isinstance(part, torch.Size):
        return type(part)(rebuild(item, change) for item in part)
    if isinstance(part, dict):
        return {key: rebuild(value, change) for key, value in part.items()}
    if isinstance(part, constraints.Constraint):
        return _constraint(part, change)
    if not isinstance(part, (Distribution, Transform)):
        return part
    new = object.__new__(type(part))
    for name, value in vars(part).items():
        # A cache holds values of the old tensors; a transform's inverse refers back to it. Both are recreated. (An
        # inverse itself holds nothing but the transform that it inverts.)
        if name == KEY:  # of the old tensors
            continue
        if isinstance(part, Transform) and name == "_cached_x_y":
            vars(new)[name] = (None, None)
        elif name == "_inv" and _is_back(part):
            vars(new)[name] = None
        else:
            vars(new)[name] = rebuild(value, change)
    return new


def _is_back(part: Any) -> bool:
    """Whether the `_inv` of `part` is a transform's inverse, once used, which refers back to the transform."""
    return isinstance(part, Transform) and not isinstance(part, InverseTransform)


def _constraint(part: constraints.Constraint, change: Callable[[Tensor], Tensor]) -> constraints.Constraint:
    """`part` itself if nothing in it changes: `constraints.real` and others are compared by identity."""
    inside = {name: rebuild(value, change) for name, value in vars(part).items()}
    if all(value is vars(part)[name] for name, value in inside.items()):
        return part
    new = copy.copy(part)
    vars(new).update(inside)
    return new


def recast(fn: Distribution, dtype: torch.dtype, device: torch.device) -> Distribution:
    """`fn` with every floating tensor in `dtype` and all on `device`; in float64 with its numbers as written.

    It is a copy in any case, since a distribution keeps what it computes.

    Example:
        >>> import torch
        >>> recast(torch.distributions.Normal(0.0, 1.0), torch.float64, torch.device("cpu")).sample().dtype
        torch.float64
    """

    def change(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return tensor.to(device=device, dtype=dtype)
        return tensor.to(device=device)

    new: Distribution = rebuild(as_written(fn) if dtype is torch.float64 else fn, change)
    return new


def without_checks(fn: Distribution) -> Distribution:
    """`fn` without its own checks of values; the tensors are shared with the original."""
    new: Distribution
    if all(type(part) in _FLAT for part in vars(fn).values()):  # as of most families: nothing inside it to copy
        new = object.__new__(type(fn))
        vars(new).update(vars(fn), _validate_args=False)
        return new
    new = rebuild(fn, lambda tensor: tensor)
    _switch_off(new)
    return new


def _switch_off(part: Any) -> None:
    if isinstance(part, Distribution):
        part._validate_args = False
        for value in vars(part).values():
            _switch_off(value)


def tensors(part: Any) -> Iterator[Tensor]:
    """Every tensor in `part`, a distribution or something inside one."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, (list, tuple)) and not isinstance(part, torch.Size):
        for item in part:
            yield from tensors(item)
    elif isinstance(part, dict):
        yield from tensors(list(part.values()))
    elif isinstance(part, (Distribution, Transform, constraints.Constraint)):
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                yield value
            elif type(value) not in _LEAVES and name not in (KEY, "_cached_x_y") and not (name == "_inv" and _is_back(part)):
                yield from tensors(value)


def floating_dtype(part: Any) -> torch.dtype | None:
    """The dtype in which `part` computes: that of its first floating tensor, None if it has none."""
    for tensor in tensors(part):
        if tensor.is_floating_point():
            return tensor.dtype
    return None
