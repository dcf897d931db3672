"""Reading and writing at computed places: group effects, categories, masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Data
from sursum.compiler.native.lower import triangle
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import kind_of
from sursum.compiler.native.lower.reading import split_index
from sursum.compiler.native.lower.reduction import axis, broadcast
from sursum.compiler.native.lower.scatter import scatter_at
from sursum.compiler.native.lower.table import Table


def places(low: Lowering, index: Ref, limit: int, *, wraps: bool = True) -> Ref:
    """An index tensor of which every element is in 0 … limit − 1; negative ones count from the end, where it `wraps`.

    A computed one is in −limit … limit − 1, or in 0 … limit − 1, already: see `check_indices`.

    Raises:
        UnsupportedOperator: an element of a constant index is outside.
    """
    known = low.known(index, lambda places: not places.numel() or (int(places.min()) >= 0 and int(places.max()) < limit))
    if known is None:
        if not wraps:
            return index
        e = low.e
        x = low.load(index)
        return low.temporary(index.size, e.where(e.lt(x, e.const(0, "i")), e.add(x, e.const(limit, "i")), x), "i")
    if known.numel() and (int(known.min()) < (-limit if wraps else 0) or int(known.max()) >= limit):
        low.fail(f"an index outside 0 … {limit - 1}")
    if not known.numel() or int(known.min()) >= 0:
        return index
    return low.constant(torch.where(known < 0, known + limit, known))


def _indices(low: Lowering, indices: Sequence[Ref | None], size: Sequence[int]) -> list[Ref | None]:
    """Index tensors in range; a constant mask becomes the places where it holds."""
    found: list[Ref | None] = []
    for index in indices:
        if index is None:
            found.append(None)
        elif kind_of(index.dtype) == "b" or index.dtype == torch.uint8:
            mask = low.known(index)
            if mask is None:
                low.fail("a mask that depends on the unknowns")
                raise AssertionError
            for column in mask.nonzero(as_tuple=True):
                found.append(low.constant(column))
        else:
            found.append(places(low, index, size[len(found)]))
    return found + [None] * (len(size) - len(found))


def _layout(found: Sequence[Ref | None]) -> tuple[tuple[int, ...], int]:
    """The broadcast size of the index tensors, and where it stands among the dimensions of the result."""
    used = [d for d, index in enumerate(found) if index is not None]
    shape = broadcast(*(r.size for r in found if r is not None))
    adjacent = used == list(range(used[0], used[-1] + 1))
    return shape, (used[0] if adjacent else 0)


def _address(low: Lowering, found: Sequence[Ref | None], size: Sequence[int]) -> tuple[tuple[int, ...], list[Expr]]:
    """The size of x[indices], and the index into x of each of its elements."""
    shape, at = _layout(found)
    rest = [n for n, index in zip(size, found, strict=True) if index is None]
    before = sum(1 for d, index in enumerate(found) if index is None and d < at)
    result = (*rest[:before], *shape, *rest[before:])
    total = len(result)
    exprs, free = [], 0
    for index in found:
        if index is None:
            where = free if free < before else free + len(shape)
            exprs.append(low.e.index(axis(total, where)))
            free += 1
        else:
            pad = len(shape) - len(index.size)
            stride = [0] * total
            for d, (s, n) in enumerate(zip(index.stride, index.size, strict=True)):
                stride[before + pad + d] = s if n != 1 else 0
            exprs.append(low.read(index.value, Affine(index.offset, tuple(stride)), result, "i"))
    return result, exprs


def index(low: Lowering, node: Node) -> None:
    """`x[i, j, …]`"""
    x, indices = node.args
    found = _indices(low, indices, x.size)
    if triangle.pick_triangle(low, x, found, low.output(node)):
        return
    size, exprs = _address(low, found, x.size)
    low.finish(node, low.load_at(x, exprs, size))


def index_put(low: Lowering, node: Node) -> None:
    """`x[i, j, …] = values`, or `+= values`"""
    x, indices, values = node.args[:3]
    add = bool(node.args[3]) if len(node.args) > 3 else False
    first = indices[0]
    e = low.e
    if len(indices) == 1 and first is not None and kind_of(first.dtype) == "b" and low.known(first) is None:
        if math.prod(values.size) != 1:
            low.fail("a mask that depends on the unknowns")
        size = low.size(node)
        padded = Ref(first.value, (*first.size, *[1] * (len(size) - len(first.size))),
                     (*first.stride, *[0] * (len(size) - len(first.size))), first.offset, first.dtype)  # fmt: skip
        mask, old = low.load(padded, size), low.load(x, size)
        new = e.cast(low.load(values, size), old.kind)
        low.finish(node, e.where(mask, e.add(old, new) if add else new, old))
        return
    found = _indices(low, indices, x.size)
    if not node.writes and not add:
        triangle.remember(low, low.output(node), x, found, values)
    size, exprs = _address(low, found, x.size)
    scatter_into(low, node, x, exprs, size, low.load(values, size), add=add)


def scatter_into(
    low: Lowering, node: Node, x: Ref, exprs: Sequence[Expr], size: Sequence[int], value: Expr, *, add: bool
) -> None:
    """A node's result: x with elements written or added at computed places."""
    if node.writes:
        write = node.writes[0]
        target, new = write.window, write.value
        known = low.graph.values[new]
        low.program.data[new] = Data(known.numel, kind_of(known.dtype), target.size)
        base: Any = target.value
    else:
        target = low.output(node)
        new = target.value
        low.declare(target)
        base = low.temporary_like(target, low.load(x, target.size)).value
    affine, loose, strides = split_index(target, exprs, len(size))
    scatter_at(low, new, base, size, affine, value, loose, strides, add=add)


def _along(low: Lowering, dim: int, place: Expr, rank: int) -> list[Expr]:
    """The index that is the iteration's own, but for `dim`."""
    return [place if d == dim else low.e.index(axis(rank, d)) for d in range(rank)]


def gather(low: Lowering, node: Node) -> None:
    """`gather(x, dim, index)`"""
    x, dim, where = node.args[:3]
    rank = len(x.size)
    if rank == 0:
        low.finish(node, low.load(x, low.size(node)))
        return
    dim %= rank
    chosen = places(low, where, x.size[dim], wraps=False)
    low.finish(node, low.load_at(x, _along(low, dim, low.load(chosen), rank), where.size))


def scatter(low: Lowering, node: Node) -> None:
    """`scatter(x, dim, index, source)`, `scatter(x, dim, index, number)`, `scatter_add(x, dim, index, source)`"""
    x, dim, where, source = node.args[:4]
    if len(node.args) > 4 or node.kwargs.get("reduce"):
        low.fail("scatter with a reduction")
    rank = len(x.size)
    if rank == 0:
        low.fail("scatter into a scalar")
    dim %= rank
    chosen = places(low, where, x.size[dim], wraps=False)
    if isinstance(source, Ref):
        cut = Ref(source.value, where.size, source.stride, source.offset, source.dtype)
        value = low.load(cut)
    else:
        value = low.e.const(source, kind_of(x.dtype))
    add = "scatter_add" in str(node.op)
    scatter_into(low, node, x, _along(low, dim, low.load(chosen), rank), where.size, value, add=add)


def scatter_reduce(low: Lowering, node: Node) -> None:
    """`scatter_reduce(x, dim, index, source, reduce, include_self)`: sums, products, means or extremes"""
    e, args = low.e, arguments_of(node)
    x, where, reduce, keep = args["self"], args["index"], args["reduce"], args["include_self"]
    if kind_of(x.dtype) != "f":
        low.fail("a reduction of whole numbers")
    size = where.size or (1,)
    rank, dim = len(size), args["dim"] % len(size)
    chosen = places(low, where, x.size[dim] if x.size else 1, wraps=False)
    place = e.const(0, "i")
    for d, stride in enumerate(contiguous(x.size or (1,))):
        along = low.load(chosen, size) if d == dim else e.index(axis(rank, d))
        place = e.add(place, e.mul(along, e.const(stride, "i")))
    source = args["src"]
    value = low.load(Ref(source.value, where.size, source.stride, source.offset, source.dtype), size)
    at, given_values = low.temporary(size, place, "i"), low.temporary(size, e.double(value))

    def reduced(base: Expr, mode: str, values: Ref) -> Ref:
        out = low.new(x.size)
        modes = ("sum", "prod", "amax", "amin")
        start = low.temporary(x.size, base)
        low.call(out, "su_scatter_reduce", modes.index(mode), int(keep), math.prod(size), at, values, out, base=start)
        return out

    found = low.load(reduced(low.load(x), "sum" if reduce == "mean" else reduce, given_values))
    if reduce == "mean":
        counts = reduced(e.const(1.0), "sum", low.temporary(size, e.const(1.0)))
        found = e.div(found, low.load(counts))
    low.finish(node, found)


def index_select(low: Lowering, node: Node) -> None:
    """`index_select(x, dim, index)`"""
    x, dim, where = node.args
    size = low.size(node)
    rank = len(size)
    if not x.size:
        low.finish(node, low.load(x, size))
        return
    dim %= rank
    chosen = places(low, where, x.size[dim], wraps=False)
    place = low.read(chosen.value, _on(chosen, rank, dim), size, "i")
    low.finish(node, low.load_at(x, _along(low, dim, place, rank), size))


def _on(where: Ref, rank: int, dim: int) -> Affine:
    """An index vector (or scalar) read along one loop variable."""
    step = where.stride[0] if where.size else 0
    return Affine(where.offset, tuple(step if d == dim else 0 for d in range(rank)))


def index_add(low: Lowering, node: Node) -> None:
    """`index_add(x, dim, index, source, alpha=1)`"""
    x, dim, where, source = node.args[:4]
    alpha = node.kwargs.get("alpha", 1)
    rank = len(x.size)
    if rank == 0:
        low.fail("index_add into a scalar")
    dim %= rank
    chosen = places(low, where, x.size[dim], wraps=False)
    place = low.read(chosen.value, _on(chosen, rank, dim), source.size, "i")
    value = low.load(source)
    if alpha != 1:
        value = low.e.mul(value, low.e.const(alpha, value.kind))
    scatter_into(low, node, x, _along(low, dim, place, rank), source.size, value, add=True)


def embedding(low: Lowering, node: Node) -> None:
    """`embedding(weight, index)`: rows of a matrix"""
    weight, where = node.args[0], node.args[1]
    size = low.size(node)
    rank = len(size)
    chosen = places(low, where, weight.size[0], wraps=False)
    place = low.read(chosen.value, Affine(chosen.offset, (*chosen.stride, 0)), size, "i")
    low.finish(node, low.load_at(weight, [place, low.e.index(axis(rank, rank - 1))], size))


def embedding_backward(low: Lowering, node: Node) -> None:
    """The gradient of `embedding`: rows added up by index"""
    grad, where, count, padding, scale = node.args
    if scale:
        low.fail("scale_grad_by_freq")
    out = low.output(node)
    rank = len(grad.size)
    chosen = places(low, where, count, wraps=False)
    place = low.read(chosen.value, Affine(chosen.offset, (*chosen.stride, 0)), grad.size, "i")
    value = low.load(grad)
    if padding >= 0:
        value = low.e.where(low.e.eq(place, low.e.const(padding, "i")), low.e.const(0.0), value)
    zeros = low.temporary_like(out, low.e.const(0.0))
    scatter_into(low, node, zeros, [place, low.e.index(axis(rank, rank - 1))], grad.size, value, add=True)


TABLE: Table = {
    "aten.index.Tensor": index,
    "aten.index_put": index_put,
    "aten._index_put_impl": index_put,
    "aten._unsafe_index.Tensor": index,
    "aten._unsafe_index_put": index_put,
    "aten.gather": gather,
    "aten.scatter": scatter,
    "aten.scatter_add": scatter,
    "aten.scatter_reduce": scatter_reduce,
    "aten.index_select": index_select,
    "aten.index_add": index_add,
    "aten.embedding": embedding,
    "aten.embedding_dense_backward": embedding_backward,
}
