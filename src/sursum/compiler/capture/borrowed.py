"""Data from outside a program, of which a graph keeps a copy of the parts that are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from sursum.common.mapped_files import is_mapped
from sursum.compiler.graph.graph import Graph, Ref, Value, map_refs, refs_of

#: Storages up to this number of elements are copied whole.
_SMALL = 4096
#: So is the range between the first and last element read, if it is at most this many times as large as what is read.
_SPARSE = 4


class Borrowed:
    """The storages from outside that a recording has met, and the windows through which its operators read them.

    Nothing writes to them while the program runs, so they can be copied when it has ended: ten numbers that are a
    view of a large array, or of a memory-mapped file, cost ten numbers.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}
        self._windows: dict[int, dict[Ref, None]] = {}

    def add(self, value: int, tensor: Tensor) -> None:
        """Record that the value is the storage of `tensor`."""
        self._tensors[value] = tensor.detach()
        self._windows[value] = {}

    def read(self, refs: Iterable[Ref]) -> None:
        """Record that an operator reads these windows."""
        for ref in refs:
            windows = self._windows.get(ref.value)
            if windows is not None:
                windows[ref] = None

    def window(self, ref: Ref) -> Tensor | None:
        """The data in a window; None if it is not on data from outside."""
        tensor = self._tensors.get(ref.value)
        return None if tensor is None else tensor.as_strided(ref.size, ref.stride, ref.offset)

    @property
    def is_small(self) -> bool:
        """Whether all of them are copied whole, regardless of what is read."""
        return all(tensor.untyped_storage().nbytes() <= _SMALL * tensor.itemsize for tensor in self._tensors.values())

    def copied(self, graph: Graph) -> Graph:
        """`graph` with copies of what was read as constants, and its windows on these."""
        values, constants = dict(graph.values), dict(graph.constants)
        moved: dict[Ref, Ref] = {}
        for id, tensor in self._tensors.items():
            windows = list(self._windows[id])
            whole = values[id]
            if whole.numel <= _SMALL:
                constants[id] = _span(tensor, 0, whole.numel)
                continue
            ends = [_ends(ref) for ref in windows if prod(ref.size)]
            start, stop = min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)
            if stop - start <= max(_SMALL, _SPARSE * sum(map(_distinct, windows))):
                constants[id], values[id] = _span(tensor, start, stop), replace(whole, numel=stop - start)
                if start:
                    moved |= {ref: replace(ref, offset=ref.offset - start if prod(ref.size) else 0) for ref in windows}
                continue
            del values[id]
            for ref in windows:
                new = max(*graph.values, *values) + 1
                constants[new], moved[ref] = _compact(tensor, ref, new)
                values[new] = Value(new, constants[new].numel(), whole.dtype)
        if not moved:
            return replace(graph, values=values, constants=constants)

        def current(ref: Ref) -> Ref:
            return moved.get(ref, ref)

        nodes = [
            node
            if moved.keys().isdisjoint(refs_of(node))
            else replace(node, args=map_refs(node.args, current), kwargs=map_refs(node.kwargs, current))
            for node in graph.nodes
        ]
        return replace(
            graph,
            values=values,
            constants=constants,
            nodes=tuple(nodes),
            guards=tuple(replace(guard, ref=current(guard.ref)) for guard in graph.guards),
            outputs=tuple(map(current, graph.outputs)),
        )


def _ends(ref: Ref) -> tuple[int, int]:
    """The first element of a non-empty window, and the one after its last."""
    return ref.offset, ref.offset + sum((n - 1) * stride for n, stride in zip(ref.size, ref.stride, strict=True)) + 1


def _distinct(ref: Ref) -> int:
    """The number of distinct elements that a window reads."""
    return prod(n for n, stride in zip(ref.size, ref.stride, strict=True) if stride)


def _span(tensor: Tensor, start: int, stop: int) -> Tensor:
    """A copy of the elements of a tensor's storage from `start` to `stop`; those of a mapped file themselves."""
    span = tensor.as_strided((stop - start,), (1,), start)
    return torch.from_numpy(span.numpy()) if is_mapped(tensor) else span.clone()


def _compact(tensor: Tensor, ref: Ref, value: int) -> tuple[Tensor, Ref]:
    """A contiguous copy of a window's elements, and the window on it that is the same tensor."""
    size = tuple(n if stride else min(n, 1) for n, stride in zip(ref.size, ref.stride, strict=True))
    copy = tensor.as_strided(size, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)
    strides = tuple(step if stride else 0 for step, stride in zip(copy.stride(), ref.stride, strict=True))
    return copy.reshape(-1), Ref(value, ref.size, strides, 0, ref.dtype)
