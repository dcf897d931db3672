"""Indexing with tensors that broadcast: `Vindex`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def index(tensor: Tensor, args: Any) -> Tensor:
    """``tensor[args]``."""
    return tensor[args]


def vindex(tensor: Tensor, args: Any) -> Tensor:
    """Index the rightmost dimensions of a tensor by tensors that broadcast with one another and with its leftmost ones.

    ``Vindex(x)[..., i, :]`` with `i` of shape (3, 1) and `x` of shape (3, 5, 2) is of shape (3, 3, 2) element by element of the
    batch. Slices must be whole; an ellipsis stands at the left only.

    Example:
        >>> x = torch.arange(6.0).reshape(2, 3)
        >>> Vindex(x)[..., torch.tensor([2, 0])]
        tensor([2., 3.])
    """
    if not isinstance(args, tuple):
        return tensor[args]
    if args and args[0] is Ellipsis:
        args = args[1:]
        leading = tensor.dim() - len(args)
    else:
        leading = 0
        args = (*args, *[slice(None)] * (tensor.dim() - len(args)))
    if any(arg is Ellipsis for arg in args):
        raise NotImplementedError("Vindex takes an ellipsis at the left only: write Vindex(x)[..., i, :].")
    if any(isinstance(arg, slice) and arg != slice(None) for arg in args):
        raise NotImplementedError("Vindex takes whole slices only: slice the tensor first.")
    kept = sum(isinstance(arg, slice) for arg in args)
    places: list[Tensor] = []
    for axis in range(leading):
        # Batch dimensions broadcast with those of the indices, rightmost against rightmost, left of the slices' own.
        places.append(torch.arange(tensor.shape[axis]).reshape((-1,) + (1,) * (leading - axis - 1 + kept)))
    seen = 0
    for axis, arg in enumerate(args, start=leading):
        if isinstance(arg, slice):
            seen += 1
            places.append(torch.arange(tensor.shape[axis]).reshape((-1,) + (1,) * (kept - seen)))
        else:
            one = torch.as_tensor(arg)
            places.append(one.reshape(one.shape + (1,) * kept))
    return tensor[tuple(places)]


class Vindex:
    """``Vindex(x)[..., i, j]``: see `vindex`."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, args: Any) -> Tensor:
        return vindex(self._tensor, args)


class Index:
    """``Index(x)[i]`` is ``x[i]``."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, args: Any) -> Tensor:
        return index(self._tensor, args)
