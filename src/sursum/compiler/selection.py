"""`x[:, i]` with an i that is another number in every step: torch's own indexing would look at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SelectByTensor(TorchFunctionMode):
    """While it is entered, indexing by a whole number in a tensor is an operator on tensors.

    Example:
        >>> with SelectByTensor():
        ...     torch.arange(6).reshape(2, 3)[:, torch.tensor(-1)]
        tensor([2, 5])
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.__getitem__:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(map(_is_number, index)) and all(_is_number(item) or _is_basic(item) for item in index):
                return _selected(args[0], index)
        return func(*args, **(kwargs or {}))


def _is_number(item: Any) -> bool:
    return isinstance(item, Tensor) and not item.dim() and item.dtype not in (torch.bool, torch.uint8)


def _is_basic(item: Any) -> bool:
    return item is None or item is Ellipsis or (isinstance(item, (int, slice)) and not isinstance(item, bool))


def _selected(tensor: Tensor, index: tuple[Any, ...]) -> Tensor:
    """Python's numbers, slices and new dimensions first; then a dimension after the other, from the right."""
    rest = tensor[tuple(slice(None) if _is_number(item) else item for item in index)]
    kept = [item for item in index if isinstance(item, Tensor) or not isinstance(item, int)]
    dots = kept.index(Ellipsis) if any(item is Ellipsis for item in kept) else len(kept)
    for place in range(len(kept) - 1, -1, -1):
        item = kept[place]
        if isinstance(item, Tensor):
            dim = place if place < dots else place - len(kept)
            size = rest.shape[dim]
            wrapped = torch.where(item < 0, item + size, item).reshape(1)
            rest = rest.index_select(dim, wrapped).squeeze(dim)
            kept.pop(place)
            dots -= place < dots
    return rest
