"""Operators that can be run for all steps at once, by `torch.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import has_kernel

aten = torch.ops.aten


def _is_close(one: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`torch.isclose`, which cannot be mapped, by operators that can."""
    difference = (one - other).abs()
    close = (one == other) | (torch.isfinite(difference) & (difference <= atol + (rtol * other).abs()))
    return close | (one.isnan() & other.isnan()) if equal_nan else close


_REWRITTEN: Mapping[Any, Callable[..., Any]] = MappingProxyType({aten.isclose.default: _is_close})


def rewritten(function: Any) -> Any:
    """The function to map instead of an operator."""
    return _REWRITTEN.get(function, function)


def mappable(op: Any) -> bool:
    """Whether an operator can be mapped.

    Example:
        >>> mappable(torch.ops.aten.exp.default), mappable(torch.ops.aten.gru_cell.default)
        (True, False)
    """
    return op in _REWRITTEN or has_rule(op)


def has_rule(op: Any) -> bool:
    """Whether torch maps an operator as it is, and without running it once for each row."""
    return any(_has(op, key) for key in ("FuncTorchBatched", "FuncTorchBatchedDecomposition"))


def is_composite(op: Any) -> bool:
    """Whether an operator is composite."""
    return _has(op, "CompositeImplicitAutograd")


def _has(op: Any, key: str) -> bool:
    found: bool = has_kernel(op.name(), key)
    return found
