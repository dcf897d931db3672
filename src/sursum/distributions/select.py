"""Select some of the independent copies that a distribution describes: those present in a subsampled plate."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Wishart,
    constraints,
)

from sursum.distributions.fluent import Masked
from sursum.distributions.rebuild import rebuild
from sursum.distributions.written import KEY

# Distributions that keep their arguments in several forms at once, and the form from which they can be rebuilt.
_ARGUMENTS: dict[type, tuple[str, ...]] = {
    Categorical: ("logits",),
    MultivariateNormal: ("loc", "scale_tril"),
    Wishart: ("df", "scale_tril"),
}


def select(fn: Distribution, dim: int, indices: Tensor) -> Distribution | None:
    """The copies `indices` of `fn` along its batch dimension `dim` < 0; None if its arguments cannot be indexed.

    Example:
        >>> import torch
        >>> wide = torch.distributions.Normal(torch.arange(4.0), 1.0)
        >>> select(wide, -1, torch.tensor([3, 1])).mean
        tensor([3., 1.])
    """
    try:
        selected: Distribution = _select(fn, dim, indices)
    except (RuntimeError, NotImplementedError, IndexError):
        return None
    return selected


def _select(fn: Any, dim: int, indices: Tensor) -> Any:
    if isinstance(fn, Independent):
        return type(fn)(_select(fn.base_dist, dim - fn.reinterpreted_batch_ndims, indices), fn.reinterpreted_batch_ndims)
    if isinstance(fn, Masked):
        return Masked(_select(fn.base_dist, dim, indices), _pick(fn.mask_tensor, fn.batch_shape, 0, dim, indices))
    if isinstance(fn, MixtureSameFamily):
        # The components are the rightmost batch dimension of their distribution.
        parts = _select(fn._mixture_distribution, dim, indices), _select(fn._component_distribution, dim - 1, indices)
        return type(fn)(*parts, validate_args=False)
    whole = fn.batch_shape
    for kind, names in _ARGUMENTS.items():
        if isinstance(fn, kind):
            arguments = {n: _pick(getattr(fn, n), whole, _events(fn, n), dim, indices) for n in names}
            remake: Any = type(fn)
            return remake(**arguments, validate_args=False)
    return _leaf(fn, dim, indices)


def _leaf(fn: Any, dim: int, indices: Tensor) -> Any:
    """`fn` with each of its arguments indexed, and its inner distributions likewise."""
    new = copy.copy(fn)
    for name, value in vars(fn).items():
        if name == KEY:
            del vars(new)[name]
        elif isinstance(value, Tensor):
            vars(new)[name] = _pick(value, fn.batch_shape, _events(fn, name), dim, indices)
        elif isinstance(value, Distribution):
            if value.batch_shape != fn.batch_shape:
                raise IndexError(f"{type(fn).__name__}.{name} has a different batch shape")
            vars(new)[name] = _select(value, dim, indices)
        elif not isinstance(value, torch.Size):
            vars(new)[name] = rebuild(value, lambda tensor: _pick(tensor, fn.batch_shape, len(fn.event_shape), dim, indices))
    shape = list(fn.batch_shape)
    shape[dim] = len(indices)
    new._batch_shape = torch.Size(shape)
    return new


def _events(fn: Any, name: str) -> int:
    """How many rightmost dimensions of the argument `name` make up one value."""
    constraint = fn.arg_constraints.get(name)
    if constraint is not None and not constraints.is_dependent(constraint):
        return int(constraint.event_dim)
    if constraint is None and fn.event_shape:
        raise IndexError(f"{type(fn).__name__}.{name} may have any number of them")
    return len(fn.event_shape)


def _pick(tensor: Tensor, batch: torch.Size, events: int, dim: int, indices: Tensor) -> Tensor:
    if tensor.dim() <= events:
        return tensor
    return tensor.expand(batch + tensor.shape[tensor.dim() - events :]).index_select(dim - events, indices)
