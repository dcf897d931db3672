"""What is known of a value besides its numbers: the complement 1 − x of one in [0, 1], the Cholesky factor of a matrix.

The subtraction from 1 has no digits where x is close to 1, nor has the factor of a matrix that is nearly singular.
"""

from __future__ import annotations

import torch
from torch import Tensor

_KEY, _FACTOR = "_complement", "_factor"


def with_complement(x: Tensor, rest: Tensor) -> Tensor:
    """`x`, with the knowledge that 1 − x is `rest`.

    The knowledge is attached to the object: tensors computed from it, including views, do not have it.
    """
    setattr(x, _KEY, rest)
    return x


def complement(x: Tensor) -> Tensor:
    """1 − x.

    Example:
        >>> import torch
        >>> float(complement(torch.tensor(0.25)))
        0.75
    """
    known: Tensor | None = getattr(x, _KEY, None)
    return 1 - x if known is None else known


def with_factor(x: Tensor, factor: Tensor) -> Tensor:
    """`x`, with the knowledge that its Cholesky factor is `factor`; attached as in `with_complement`."""
    setattr(x, _FACTOR, factor)
    return x


def factor_of(x: Tensor) -> Tensor:
    """The Cholesky factor of a positive definite matrix.

    Example:
        >>> import torch
        >>> factor_of(torch.tensor([[4.0]]))
        tensor([[2.]])
    """
    known: Tensor | None = getattr(x, _FACTOR, None)
    return torch.linalg.cholesky(x) if known is None else known
