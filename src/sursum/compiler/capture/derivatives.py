"""Make backward operators that deliberately omit something compute the exact derivative.

Training may want the omission; the gradient of a density must be its derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.precision import Computed
from sursum.common.torch_private import OpOverload

aten = torch.ops.aten

#: For each such operator, the arguments by position and their required values: no row is left out, and none is divided by
#: how often it is used.
_EXACT: Mapping[Any, Mapping[int, Any]] = {
    aten.embedding_dense_backward.default: {3: -1, 4: False},
    aten._embedding_bag_dense_backward.default: {6: False},
}
#: By identity, which is asked of every operator: torch hashes one in Python.
_INEXACT = frozenset(map(id, _EXACT))


def exact(op: Any, args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with which `op` computes the derivative.

    >>> exact(torch.ops.aten.embedding_dense_backward.default, ("slope", "index", 10, 0, True))
    ('slope', 'index', 10, -1, False)
    """
    if id(op) not in _INEXACT:
        return tuple(args)
    return tuple(_EXACT[op].get(k, arg) for k, arg in enumerate(args))


class ExactDerivatives(Computed):
    """While it is active, torch's backward operators compute the exact derivative, in double precision.

    `is_needed` says whether an operator came here that autograd follows. What passes by leaves doubles alone, and no operator
    that omits something in its derivative passes by: where none was followed, torch's own backward pass is exact.

    Example:
        >>> table = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        >>> row = torch.nn.functional.embedding(torch.tensor([0]), table[:, None], padding_idx=0).sum()
        >>> with ExactDerivatives():
        ...     torch.autograd.grad(row, table)[0].tolist()
        [1.0, 0.0, 0.0]
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_needed = False

    def run(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self.is_needed = self.is_needed or any(map(_is_followed, (*args, *kwargs.values())))
        return op(*exact(op, args), **kwargs)


def _is_followed(item: Any) -> bool:
    return (isinstance(item, Tensor) and item.requires_grad) or (
        isinstance(item, (list, tuple)) and any(map(_is_followed, item))
    )
