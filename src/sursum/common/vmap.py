"""`torch.func.vmap` without its asides: where it has no rule for an operator it loops over rows, as is wanted here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

_ASIDES = (
    "There is a performance drop because we have not yet implemented the batching rule",
    "An output with one or more elements was resized",  # by torch's own looping
)


def vmap(fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`fn` mapped over leading dimensions, with the options of `torch.func.vmap`.

    Example:
        >>> vmap(lambda x: torch.histc(x, bins=2, min=0.0, max=2.0))(torch.tensor([[0.0, 0.5], [0.5, 1.5]]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    mapped = torch.func.vmap(fn, **options)

    def run(*args: Any) -> Any:
        with warnings.catch_warnings():
            for text in _ASIDES:
                warnings.filterwarnings("ignore", message=text, category=UserWarning)
            return mapped(*args)

    return run
