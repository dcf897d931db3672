"""Copies of distributions with something changed inside, however deeply they are nested.

A distribution holds tensors, other distributions (a base, a mixture's components), transforms and constraints. `rebuild`
walks them all and never touches the object it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints


def rebuild(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`part`, a distribution or something inside one, with `change(tensor)` for every tensor in it."""
    if isinstance(part, Tensor):
        return change(part)
    if isinstance(part, (list, tuple)) and not isinstance(part, torch.Size):
        return type(part)(rebuild(item, change) for item in part)
    if not isinstance(part, (Distribution, Transform, constraints.Constraint)):
        return part
    new = copy.copy(part)
    for name, value in vars(part).items():
        if isinstance(part, Transform) and name in ("_inv", "_cached_x_y"):
            # An inverse is a back reference, and a cache holds values of the old tensors: both are made anew.
            vars(new)[name] = (None, None) if name == "_cached_x_y" else _fresh_inverse(part, value, change)
        else:
            vars(new)[name] = rebuild(value, change)
    return new


def _fresh_inverse(part: Transform, inverse: Any, change: Callable[[Tensor], Tensor]) -> Any:
    # An inverse transform owns the transform it inverts; the other direction is a weak reference that can be dropped.
    return rebuild(inverse, change) if isinstance(inverse, Transform) else None


def recast(fn: Distribution, dtype: torch.dtype, device: torch.device) -> Distribution:
    """`fn` with every floating tensor in `dtype` and every tensor on `device`.

    Example:
        >>> import torch
        >>> recast(torch.distributions.Normal(0.0, 1.0), torch.float64, torch.device("cpu")).sample().dtype
        torch.float64
    """

    def change(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return tensor.to(device=device, dtype=dtype)
        return tensor.to(device=device)

    new: Distribution = rebuild(fn, change)
    return new


def unchecked(fn: Distribution) -> Distribution:
    """`fn` without its own checks of values; the tensors are shared with the original."""
    new: Distribution = rebuild(fn, lambda tensor: tensor)
    _switch_off(new)
    return new


def _switch_off(part: Any) -> None:
    if isinstance(part, Distribution):
        part._validate_args = False
        for value in vars(part).values():
            _switch_off(value)


def floating_dtype(part: Any) -> torch.dtype | None:
    """The dtype in which `part` computes: that of the first floating tensor in it, None where it has none."""
    found: list[torch.dtype] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            found.append(tensor.dtype)
        return tensor

    rebuild(part, note)
    return found[0] if found else None


def select(fn: Distribution, dim: int, indices: Tensor) -> Distribution | None:
    """The copies `indices` of `fn` along its batch dimension `dim` < 0; None where its arguments cannot be picked apart.

    Example:
        >>> import torch
        >>> wide = torch.distributions.Normal(torch.arange(4.0), 1.0)
        >>> select(wide, -1, torch.tensor([3, 1])).mean
        tensor([3., 1.])
    """
    if isinstance(fn, torch.distributions.Independent):
        base = select(fn.base_dist, dim - fn.reinterpreted_batch_ndims, indices)
        return None if base is None else torch.distributions.Independent(base, fn.reinterpreted_batch_ndims)
    if fn.event_shape:
        return None
    whole = fn.batch_shape

    def pick(tensor: Tensor) -> Tensor:
        return tensor.expand(whole).index_select(dim, indices) if tensor.dim() else tensor

    new: Distribution = rebuild(fn, pick)
    shape = list(whole)
    shape[dim] = len(indices)
    _resize(new, whole, torch.Size(shape))
    return new


def _resize(part: Any, old: torch.Size, new: torch.Size) -> None:
    if isinstance(part, Distribution):
        if part._batch_shape == old:
            part._batch_shape = new
        for value in vars(part).values():
            _resize(value, old, new)
