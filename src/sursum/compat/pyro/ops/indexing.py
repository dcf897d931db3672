"""Indexing with tensors that broadcast: `Vindex`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sursum.ops import Vindex


def index(tensor: Tensor, args: Any) -> Tensor:
    """``tensor[args]``."""
    return tensor[args]


def vindex(tensor: Tensor, args: Any) -> Tensor:
    """``Vindex(tensor)[args]``."""
    found: Tensor = Vindex(tensor)[args]
    return found


class Index:
    """``Index(x)[i]`` is ``x[i]``."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, args: Any) -> Tensor:
        return index(self._tensor, args)


__all__ = ["Index", "Vindex", "index", "vindex"]
