"""Operators that can be run for all steps at once, by `torch.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sursum.common.torch_private import has_kernel

aten = torch.ops.aten


def _is_close(one: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """`torch.isclose`, which cannot be mapped, by operators that can."""
    difference = (one - other).abs()
    close = (one == other) | (torch.isfinite(difference) & (difference <= atol + (rtol * other).abs()))
    return close | (one.isnan() & other.isnan()) if equal_nan else close


def _binary_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """`torch.nn.functional.binary_cross_entropy_with_logits`, which cannot be mapped, by operators that can."""
    likely = logsigmoid(logits)
    weighted = likely if pos_weight is None else ((pos_weight - 1) * target + 1) * likely
    loss = (1 - target) * logits - weighted
    loss = loss if weight is None else loss * weight
    return loss if not reduction else loss.mean() if reduction == 1 else loss.sum()


_REWRITTEN: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {
        aten.isclose.default: _is_close,
        aten.binary_cross_entropy_with_logits.default: _binary_cross_entropy,
    }
)


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
