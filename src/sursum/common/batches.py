"""Batches of a data loader, as arguments of a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sursum.common.torch_private import tree_leaves


def as_arguments(batch: Any) -> tuple[Any, ...]:
    """What a program is called with: the elements of a batch that is a tuple or a list, or the batch itself.

    Example:
        >>> as_arguments([1, 2]), as_arguments(3)
        ((1, 2), (3,))
    """
    return tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)


def rows_of(args: Sequence[Any]) -> int | None:
    """The number of rows of a batch: the length of its first tensor, however deeply nested; None without one.

    Example:
        >>> import torch
        >>> rows_of(({"x": torch.ones(5, 2)}, torch.ones(5))), rows_of((1.0,))
        (5, None)
    """
    return next((len(leaf) for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.dim()), None)
