"""What passes have used of the numbers of constants: with other numbers a graph, and its C, are right where it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Assumption = Callable[[Mapping[int, Tensor]], bool]
"""A condition on the storages of constants, by value, that a pass has relied on."""


def about(value: int, holds: Callable[[Tensor], bool]) -> Assumption:
    """A condition on one constant.

    Example:
        >>> positive = about(7, lambda scale: bool((scale > 0).all()))
        >>> positive({7: torch.tensor([1.0, 2.0])}), positive({7: torch.tensor([-1.0])})
        (True, False)
    """
    return lambda constants: holds(constants[value])


def equal_to(value: int, constant: Tensor) -> Assumption:
    """That a constant has these numbers."""
    return about(value, lambda other: same_bits(constant, other))


def equal_pair(one: int, other: int) -> Assumption:
    """That two constants have the same numbers."""
    return lambda constants: same_bits(constants[one], constants[other])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same dtype, shape and bits; any NaN equals any other.

    >>> same_bits(torch.tensor([float("nan"), 0.0]), torch.tensor([float("nan"), 0.0]))
    True
    >>> same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    False
    """
    if one is other:
        return True
    if one.dtype is not other.dtype or one.shape != other.shape:
        return False
    if torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)):
        return True
    if not one.is_floating_point() or not torch.equal(one.isnan(), other.isnan()):
        return False
    numbers = ~one.isnan()
    return torch.equal(one[numbers].view(torch.uint8), other[numbers].view(torch.uint8))
