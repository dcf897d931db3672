"""How error messages show a value: in a few words, however large it is."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from torch import Tensor

LONGEST = 160


def abbreviate(value: Any) -> str:
    """`value` in a few words; arrays are described by shape and dtype.

    Example:
        >>> import torch
        >>> abbreviate(torch.zeros(30, 2)), abbreviate("fast"), abbreviate(torch.tensor(3))
        ('a tensor of shape (30, 2) of torch.float32', "'fast'", 'tensor(3)')
    """
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        where = f" on {value.device}" if isinstance(value, Tensor) and value.device.type != "cpu" else ""
        return (
            f"{'a tensor' if isinstance(value, Tensor) else 'an array'} of shape {tuple(value.shape)} of {value.dtype}{where}"
        )
    short = reprlib.Repr()
    short.maxstring = short.maxother = LONGEST
    return short.repr(value) if isinstance(value, (str, bytes, list, tuple, dict, set)) else _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
