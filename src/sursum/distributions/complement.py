"""What is left of 1 by a number in [0, 1], with digits of its own: 1 − x has none where x is close to 1."""

from __future__ import annotations

from torch import Tensor

_KEY = "_complement"


def with_complement(x: Tensor, rest: Tensor) -> Tensor:
    """`x`, of which it is known that 1 − x is `rest`.

    The knowledge goes with the object: what is computed from it, a view included, has none.
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
