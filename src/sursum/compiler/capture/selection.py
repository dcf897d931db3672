"""`x[:, i]` with a computed i, which torch's own indexing would read as a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_GET, _SET = Tensor.__getitem__, Tensor.__setitem__
_WHOLE = frozenset((torch.int64, torch.int32, torch.int16, torch.int8))


class SelectByTensor(TorchFunctionMode):
    """While it is active, indexing by an integer in a tensor is an operator on tensors, and so is assignment.

    Then `x[i]` is a copy, not a view of x.

    Args:
        computed: whether torch must not read a tensor; others are indexed as usual.

    Example:
        >>> with SelectByTensor():
        ...     torch.arange(6).reshape(2, 3)[:, torch.tensor(-1)]
        tensor([2, 5])
    """

    def __init__(self, computed: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        super().__init__()
        self._computed = computed

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = self.instead(func, args)
        return func(*args, **(kwargs or {})) if found is NotImplemented else found

    def instead(self, func: Any, args: Sequence[Any]) -> Any:
        """The result of a call by operators on tensors; NotImplemented if this mode does not handle it."""
        if func is not _GET and func is not _SET:
            return NotImplemented
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if any(isinstance(item, Tensor) and not item.dim() and self._computed(item) for item in index):
            if func is _SET:
                return _write(args[0], index, args[2])
            if any(map(_is_number, index)):
                return _select(args[0], index)
        return NotImplemented


def _is_number(item: Any) -> bool:
    return isinstance(item, Tensor) and not item.dim() and item.dtype in _WHOLE


def _is_basic(item: Any) -> bool:
    return item is None or item is Ellipsis or (isinstance(item, (int, slice)) and not isinstance(item, bool))


def _split(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[int, Tensor]]:
    """An index with a full slice for each integer in a tensor, and those integers by their dimension in the result
    (counted from the end after an ellipsis)."""
    kept = [item for item in index if isinstance(item, Tensor) or not isinstance(item, int) or isinstance(item, bool)]
    dots = next((place for place, item in enumerate(kept) if item is Ellipsis), len(kept))
    numbers: dict[int, Any] = {
        place if place < dots else place - len(kept): item for place, item in enumerate(kept) if _is_number(item)
    }
    return tuple(slice(None) if _is_number(item) else item for item in index), numbers


def _select(tensor: Tensor, index: tuple[Any, ...]) -> Tensor:
    """As in torch: integers first, each of which removes its dimension, then tensors with dimensions."""
    if not all(_is_number(item) or _is_basic(item) for item in index):
        rest = _select(tensor, tuple(item if _is_number(item) else Ellipsis if item is Ellipsis else s
                                       for item in index for s in _all_of(item)))  # fmt: skip
        return rest[tuple(item for item in index if not _is_number(item))]
    others, numbers = _split(index)
    rest = tensor[others]
    taken = {dim % rest.dim(): item for dim, item in numbers.items()}
    for dim in sorted(taken, reverse=True):
        item, size = taken[dim], rest.shape[dim]
        wrapped = torch.where(item < 0, item + size, item).reshape(1)
        rest = rest.index_select(dim, wrapped).squeeze(dim)
    return rest


def _all_of(item: Any) -> list[slice]:
    """All of every dimension that an item of an index stands for."""
    if item is None or isinstance(item, bool):
        return []
    if isinstance(item, Tensor) and item.dtype in (torch.bool, torch.uint8):
        return [slice(None)] * item.dim()
    return [slice(None)]


def _write(tensor: Tensor, index: tuple[Any, ...], value: Any) -> None:
    """`tensor[index] = value`, for integers combined with slices, or a single truth value."""
    value = value if isinstance(value, Tensor) else torch.tensor(value, dtype=tensor.dtype, device=tensor.device)
    if len(index) == 1 and index[0].dtype is torch.bool:
        tensor.copy_(torch.where(index[0], value.to(tensor.dtype), tensor))
        return
    if not all(_is_number(item) or _is_basic(item) for item in index):
        Tensor.__setitem__(tensor, index, value)
        return
    others, numbers = _split(index)
    rest = tensor[others]
    taken = {dim % rest.dim(): item for dim, item in numbers.items()}
    front = rest.movedim(tuple(taken), tuple(range(len(taken))))
    front[tuple(item.reshape(1) for item in taken.values())] = value.to(tensor.dtype)
