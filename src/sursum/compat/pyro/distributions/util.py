"""Small functions of distributions, and the switch of their checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions.utils import broadcast_all, logits_to_probs, probs_to_logits

import sursum as su


def enable_validation(is_validate: bool = True) -> None:
    """Switch the checks at sites on or off."""
    su.enable_validation(is_validate)


def is_validation_enabled() -> bool:
    """Whether sites are checked."""
    return su.is_validation_enabled()


@contextmanager
def validation_enabled(is_validate: bool = True) -> Iterator[None]:
    """The checks on or off inside a `with` block."""
    with su.validation_enabled(is_validate):
        yield


def broadcast_shape(*shapes: Any, strict: bool = False) -> torch.Size:
    """The shape that these broadcast to; with `strict` no size of 1 grows.

    Example:
        >>> broadcast_shape((3, 1), (4,))
        torch.Size([3, 4])
    """
    found: torch.Size = torch.broadcast_shapes(*(torch.Size(shape) for shape in shapes))
    for shape in shapes if strict else ():
        if tuple(found[len(found) - len(shape) :]) != tuple(shape):
            raise ValueError(f"the shapes {shapes} do not have the same sizes")
    return found


def logsumexp(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """log Σ exp."""
    return x.logsumexp(dim, keepdim)


def sum_rightmost(value: Any, dim: int) -> Any:
    """The sum over the `dim` rightmost dimensions, or over all but −`dim` leftmost ones.

    Example:
        >>> sum_rightmost(torch.ones(2, 3), 1)
        tensor([3., 3.])
    """
    if not isinstance(value, Tensor) or dim == 0:
        return value
    count = dim if dim > 0 else value.dim() + dim
    return value.sum(tuple(range(-count, 0))) if count > 0 else value


def sum_leftmost(value: Any, dim: int) -> Any:
    """The sum over the `dim` leftmost dimensions, or over all but −`dim` rightmost ones."""
    if not isinstance(value, Tensor) or dim == 0:
        return value
    count = dim if dim > 0 else value.dim() + dim
    return value.sum(tuple(range(count))) if count > 0 else value


__all__ = [
    "broadcast_all",
    "broadcast_shape",
    "enable_validation",
    "is_validation_enabled",
    "logits_to_probs",
    "logsumexp",
    "probs_to_logits",
    "sum_leftmost",
    "sum_rightmost",
    "validation_enabled",
]
