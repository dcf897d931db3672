"""Geometry of windows: the elements of a storage that a tensor consists of, by strides or, where strides are unavailable,
by operators that work under `torch.func.vmap`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sursum.compiler.graph.graph import Ref


def contiguous(size: Sequence[int]) -> tuple[int, ...]:
    """Strides of a row-major tensor of this size, in elements.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    stride: list[int] = []
    step = 1
    for length in reversed(size):
        stride.append(step)
        step *= max(length, 1)
    return tuple(reversed(stride))


def flat(value: int, numel: int, dtype: torch.dtype) -> Ref:
    """The window that is a whole storage, in the order of memory."""
    return Ref(value, (numel,), (1,), 0, dtype)


def numel_of(ref: Ref) -> int:
    """The number of elements of a window."""
    return math.prod(ref.size)


def memory_order(ref: Ref) -> list[int]:
    """The dimensions of a window from the longest stride to the shortest; those of one element stay in place last."""
    return sorted(range(len(ref.size)), key=lambda d: (ref.size[d] == 1, -ref.stride[d]))


def is_packed(ref: Ref) -> bool:
    """Whether a window is one stretch of memory, its dimensions in any order, each element once.

    >>> is_packed(Ref(0, (2, 3), (1, 2), 5, torch.float64)), is_packed(Ref(0, (2, 3), (6, 2), 0, torch.float64))
    (True, False)
    """
    step = 1
    for d in reversed(memory_order(ref)):
        if ref.size[d] != 1:
            if ref.stride[d] != step:
                return False
            step *= ref.size[d]
    return numel_of(ref) > 0


def covers(ref: Ref, numel: int) -> bool:
    """Whether a window is the whole of a storage of `numel` elements, its dimensions in any order."""
    return ref.offset == 0 and numel_of(ref) == numel and is_packed(ref)


def elements(ref: Ref) -> Tensor:
    """The positions in the storage of a window's elements, int64, of the window's size.

    >>> elements(Ref(0, (2, 2), (1, 2), 3, torch.float64)).tolist()
    [[3, 5], [4, 6]]
    """
    positions = torch.full(ref.size, ref.offset, dtype=torch.int64)
    for d, (length, stride) in enumerate(zip(ref.size, ref.stride, strict=True)):
        shape = [1] * len(ref.size)
        shape[d] = length
        positions += (torch.arange(length, dtype=torch.int64) * stride).reshape(shape)
    return positions


def same_geometry(one: Ref, other: Ref) -> bool:
    """Whether two windows have the same size, and the same stride in every dimension with more than one element."""
    return one.size == other.size and all(
        a == b for length, a, b in zip(one.size, one.stride, other.stride, strict=True) if length != 1
    )


def flatten(ref: Ref, numel: int) -> Callable[[Tensor], Tensor]:
    """From a tensor that is window `ref` of a storage of `numel` elements to that storage, 1-d; works under vmap."""
    if covers(ref, numel):
        order = memory_order(ref)
        return lambda tensor: tensor.permute(order).reshape(numel)
    positions = elements(ref).reshape(-1)
    return lambda tensor: tensor.new_zeros(numel).index_put((positions,), tensor.reshape(-1))


def laid_out(ref: Ref) -> Callable[[Tensor], Tensor]:
    """A tensor unchanged if it has the recorded strides, otherwise a copy with them."""
    size, stride, offset = ref.size, ref.stride, ref.offset

    def laid_out(tensor: Tensor) -> Tensor:
        if tensor.stride() == stride and tensor.storage_offset() == offset:
            return tensor
        return torch.empty_strided(size, stride, dtype=tensor.dtype, device=tensor.device).copy_(tensor)

    return laid_out


def window(ref: Ref) -> Callable[[Tensor], Tensor]:
    """From a storage, 1-d, to its window `ref`; works under vmap, where strides mean nothing."""
    if 0 in ref.size:
        return lambda storage: storage.new_zeros(ref.size)
    repeated = [d for d, length in enumerate(ref.size) if length > 1 and ref.stride[d] == 0]
    once = replace(ref, size=tuple(1 if d in repeated else length for d, length in enumerate(ref.size)))
    if is_packed(once):
        order = memory_order(once)
        back = sorted(range(len(order)), key=order.__getitem__)
        sizes = [once.size[d] for d in order]
        start, length, size = ref.offset, numel_of(once), ref.size
        return lambda storage: storage.narrow(0, start, length).reshape(sizes).permute(back).expand(size)
    positions, size = elements(once).reshape(-1), ref.size
    return lambda storage: storage.index_select(0, positions).reshape(once.size).expand(size)


def put(ref: Ref) -> Callable[[Tensor, Tensor], Tensor]:
    """From a storage, 1-d, and a tensor to the storage with that tensor in its window `ref`; works under vmap."""
    positions = elements(ref).reshape(-1)
    return lambda storage, tensor: storage.index_put((positions,), tensor.reshape(-1))
