"""The complement 1 − x of a number in [0, 1] in full precision: the subtraction has none where x is close to 1."""

from __future__ import annotations

from torch import Tensor

_KEY = "_complement"


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
