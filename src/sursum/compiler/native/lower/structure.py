"""Joining, cutting, padding, turning round; and the backward operators of views, which embed a window in zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Data
from sursum.compiler.native.lower.arithmetic import TABLE as ARITHMETIC
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import kind_of
from sursum.compiler.native.lower.reduction import axis
from sursum.compiler.native.lower.table import Lower, Table


def embed(low: Lowering, out: Ref, window: Ref, expr: Expr) -> None:
    """Zeros of the size of `out` with an expression in a window of them."""
    low.declare(out)
    low.patch(out.value, low.e.const(0, kind_of(out.dtype)), window, expr)


def window(ref: Ref, size: Sequence[int], stride: Sequence[int], offset: int) -> Ref:
    """Another window on the value of `ref`, `offset` counted from its own."""
    return Ref(ref.value, tuple(size), tuple(stride), ref.offset + offset, ref.dtype)


def narrow(ref: Ref, dim: int, start: int, count: int, step: int = 1) -> Ref:
    """Every `step`-th of `dim` from `start` on."""
    size, stride = list(ref.size), list(ref.stride)
    offset = start * stride[dim]
    size[dim], stride[dim] = count, stride[dim] * step
    return window(ref, size, stride, offset)


def select(ref: Ref, dim: int, index: int) -> Ref:
    """One of `dim`, which goes."""
    index %= ref.size[dim]
    size, stride = list(ref.size), list(ref.stride)
    del size[dim], stride[dim]
    return window(ref, size, stride, index * ref.stride[dim])


def slice_range(n: int, start: int | None, end: int | None, step: int) -> tuple[int, int]:
    """Where a slice of n elements starts, and how many it has."""
    chosen = range(*slice(start, end, step).indices(n))
    return (chosen[0] if len(chosen) else 0), len(chosen)


def diagonal(ref: Ref, offset: int, dim1: int, dim2: int) -> Ref:
    """A diagonal, as a window."""
    rank = len(ref.size)
    dim1, dim2 = dim1 % rank, dim2 % rank
    n, m = ref.size[dim1], ref.size[dim2]
    count = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
    start = offset * ref.stride[dim2] if offset >= 0 else -offset * ref.stride[dim1]
    keep = [d for d in range(rank) if d not in (dim1, dim2)]
    size = [*(ref.size[d] for d in keep), count]
    stride = [*(ref.stride[d] for d in keep), ref.stride[dim1] + ref.stride[dim2]]
    return window(ref, size, stride, start if count else 0)


def select_backward(low: Lowering, node: Node) -> None:
    """Zeros but for one index of a dimension"""
    grad, _, dim, index = node.args
    out = low.output(node)
    target = select(out, dim % len(out.size), index)
    embed(low, out, target, low.load(grad, target.size))


def slice_backward(low: Lowering, node: Node) -> None:
    """Zeros but for a slice of a dimension"""
    grad, sizes, dim, start, end, step = node.args
    out = low.output(node)
    first, count = slice_range(sizes[dim], start, end, step)
    target = narrow(out, dim % len(out.size), first, count, step)
    embed(low, out, target, low.load(grad, target.size))


def diagonal_backward(low: Lowering, node: Node) -> None:
    """Zeros but for a diagonal"""
    grad, _, offset, dim1, dim2 = node.args
    out = low.output(node)
    target = diagonal(out, offset, dim1, dim2)
    embed(low, out, target, low.load(grad, target.size))


def _scatter_window(low: Lowering, node: Node, target: Ref, out: Ref) -> None:
    """A copy of the first argument with the second in a window"""
    base = low.temporary_like(out, low.load(node.args[0], out.size))
    low.declare(out)
    low.patch(out.value, base.value, target, low.load(node.args[1], target.size))


def select_scatter(low: Lowering, node: Node) -> None:
    """`select_scatter(x, source, dim, index)`"""
    out = low.output(node)
    _scatter_window(low, node, select(out, node.args[2] % len(out.size), node.args[3]), out)


def slice_scatter(low: Lowering, node: Node) -> None:
    """`slice_scatter(x, source, dim, start, end, step)`"""
    out = low.output(node)
    defaults: tuple[Any, ...] = (0, None, None, 1)
    dim, start, end, step = (*node.args[2:], *defaults[len(node.args) - 2 :])
    dim %= len(out.size)
    first, count = slice_range(out.size[dim], start, end, step)
    _scatter_window(low, node, narrow(out, dim, first, count, step), out)


def diagonal_scatter(low: Lowering, node: Node) -> None:
    """`diagonal_scatter(x, source, offset, dim1, dim2)`"""
    out = low.output(node)
    defaults: tuple[Any, ...] = (0, 0, 1)
    offset, dim1, dim2 = (*node.args[2:], *defaults[len(node.args) - 2 :])
    _scatter_window(low, node, diagonal(out, offset, dim1, dim2), out)


def join(low: Lowering, out: Ref, parts: Sequence[tuple[Ref, Expr]]) -> None:
    """A tensor made of windows that cover it."""
    low.declare(out)
    shape = low.program.data[out.value]
    base: int | Expr = low.e.const(0, shape.kind)
    for k, (target, expr) in enumerate(parts):
        last = k == len(parts) - 1
        value = out.value if last else low.new(()).value
        low.program.data[value] = Data(shape.numel, shape.kind, shape.shape)
        low.patch(value, base, target, expr)
        base = value
    if not parts:
        low.define(out, low.e.const(0, shape.kind))


def cat(low: Lowering, node: Node) -> None:
    """`cat(tensors, dim)`"""
    tensors = [t for t in node.args[0] if t.size != (0,)]
    out = low.output(node)
    dim = (node.args[1] if len(node.args) > 1 else 0) % max(len(out.size), 1)
    parts, start = [], 0
    for t in tensors:
        if math.prod(t.size):
            target = narrow(out, dim, start, t.size[dim])
            parts.append((target, low.load(t)))
        start += t.size[dim]
    join(low, out, parts)


def stack(low: Lowering, node: Node) -> None:
    """`stack(tensors, dim)`"""
    out = low.output(node)
    dim = (node.args[1] if len(node.args) > 1 else 0) % len(out.size)
    parts = [(select(out, dim, k), low.load(t)) for k, t in enumerate(node.args[0]) if math.prod(t.size)]
    join(low, out, parts)


def constant_pad_nd(low: Lowering, node: Node) -> None:
    """`constant_pad_nd(x, pad, value)`; a negative pad cuts"""
    x, pad = node.args[0], node.args[1]
    value = node.args[2] if len(node.args) > 2 else 0.0
    out = low.output(node)
    source, target = x, out
    rank = len(x.size)
    for k in range(len(pad) // 2):
        dim, before, after = rank - 1 - k, pad[2 * k], pad[2 * k + 1]
        count = x.size[dim] + min(before, 0) + min(after, 0)
        source = narrow(source, dim, max(-before, 0), count)
        target = narrow(target, dim, max(before, 0), count)
    low.declare(out)
    low.patch(out.value, low.e.const(value, kind_of(out.dtype)), target, low.load(source))


def _move(low: Lowering, x: Ref, index: Sequence[Affine], size: Sequence[int]) -> Expr:
    return low.read(x.value, Affine.over(x.size, x.stride, x.offset).through(index, len(size)), size, kind_of(x.dtype))


def flip(low: Lowering, node: Node) -> None:
    """`flip(x, dims)`"""
    x = node.args[0]
    rank = len(x.size)
    dims = {d % rank for d in node.args[1]} if rank else set()
    index = []
    for d, n in enumerate(x.size):
        there = axis(rank, d)
        index.append(Affine(n - 1, tuple(-c for c in there.coefs)) if d in dims and n else there)
    low.finish(node, _move(low, x, index, x.size))


def repeat(low: Lowering, node: Node) -> None:
    """`repeat(x, times)`: each dimension of the result as two, the times and the elements"""
    x, out = node.args[0], low.output(node)
    lead = len(out.size) - len(x.size)
    size: list[int] = []
    stride: list[int] = []
    read: list[int] = []
    for d, (m, s) in enumerate(zip(out.size, out.stride, strict=True)):
        n = x.size[d - lead] if d >= lead else 1
        size += [m // n if n else 0, n]
        stride += [s * n, s]
        read += [0, x.stride[d - lead] if d >= lead and n != 1 else 0]
    low.define(window(out, size, stride, 0), low.read(x.value, Affine(x.offset, tuple(read)), size, kind_of(x.dtype)))


def triangle(*, upper: bool) -> Lower:
    """`tril(x, k)` and `triu(x, k)`"""

    def lower(low: Lowering, node: Node) -> None:
        e, x = low.e, node.args[0]
        k = node.args[1] if len(node.args) > 1 else 0
        rank = len(x.size)
        row, column = e.index(axis(rank, rank - 2)), e.index(axis(rank, rank - 1))
        shifted = e.add(row, e.const(k, "i"))
        inside = e.ge(column, shifted) if upper else e.le(column, shifted)
        expr = low.load(x)
        low.finish(node, e.where(inside, expr, e.const(0, expr.kind)))

    return lower


def accumulate(low: Lowering, node: Node) -> bool:
    """A sum one side of which is zeros but for windows: adds only those. Whether it could."""
    if node.writes or len(node.args) != 2 or node.kwargs.get("alpha", 1) != 1:
        return False
    a, b = node.args
    out = low.output(node)
    if not (isinstance(a, Ref) and isinstance(b, Ref) and a.size == b.size == out.size and a.dtype == b.dtype):
        return False
    flat = contiguous(out.size)
    full = math.prod(out.size)
    if full <= 1 or not all(r.stride == flat and r.offset == 0 for r in (a, b, out)):
        return False
    if any(low.program.data[low.alias.get(r.value, r.value)].numel != full for r in (a, b)):
        return False
    for x, y in ((a, b), (b, a)):
        pieces = low.pieces(y.value)
        if pieces is None or sum(math.prod(p.piece.shape) for p in pieces) > full:
            continue
        low.declare(out)
        base: int | Expr = low.alias.get(x.value, x.value)
        for k, patch in enumerate(pieces):
            value = out.value if k == len(pieces) - 1 else low.new(()).value
            low.program.data[value] = Data(full, kind_of(out.dtype), out.size)
            low.add_piece(value, base, patch)
            base = value
        return True
    return False


def add(low: Lowering, node: Node) -> None:
    """`add(x, y, alpha)`, where one side may be zeros but for windows, as sums of gradients are"""
    if not accumulate(low, node):
        ARITHMETIC["aten.add"](low, node)


def rename_window(low: Lowering, node: Node) -> None:
    """`x.transpose_(…)` and its like: the same elements under another window"""
    write = node.writes[0]
    low.alias[write.value] = low.alias.get(write.window.value, write.window.value)


def roll(low: Lowering, node: Node) -> None:
    """`roll(x, shifts, dims)`: what leaves at one end comes in at the other"""
    args, out = arguments_of(node), low.output(node)
    x, shifts, dims = args["self"], args["shifts"], args["dims"]
    if math.prod(x.size) == 0:
        low.define(out, low.load(x))
        return
    current = x
    if not dims:
        flat = low.temporary(x.size, low.load(x))
        current, dims = window(flat, (math.prod(x.size),), (1,), 0), (0,)
    for shift, dim in zip(shifts, dims, strict=True):
        dim %= max(len(current.size), 1)
        n = current.size[dim]
        k = shift % n
        target = low.new(current.size, x.dtype)
        pieces = [(narrow(target, dim, k, n - k), narrow(current, dim, 0, n - k)),
                  (narrow(target, dim, 0, k), narrow(current, dim, n - k, k))]  # fmt: skip
        join(low, target, [(there, low.load(here)) for there, here in pieces if math.prod(here.size)])
        current = target
    low.define(out, low.load(window(current, x.size, contiguous(x.size), 0) if current.size != x.size else current))


def rot90(low: Lowering, node: Node) -> None:
    """`rot90(x, k, dims)`"""
    args = arguments_of(node)
    x, turns, (a, b) = args["self"], args["k"] % 4, args["dims"]
    rank = len(x.size)
    size, a, b = low.size(node), a % rank, b % rank
    index = [axis(rank, d) for d in range(rank)]
    forth = {d: axis(rank, d) for d in (a, b)}
    back = {d: Affine(size[d] - 1, tuple(-c for c in axis(rank, d).coefs)) for d in (a, b)}
    index[a], index[b] = {0: (forth[a], forth[b]), 1: (forth[b], back[a]), 2: (back[a], back[b]), 3: (back[b], forth[a])}[turns]
    low.finish(node, _move(low, x, index, size))


def block_diagonal(low: Lowering, node: Node) -> None:
    """`block_diag(matrices)`"""
    out, parts, row, column = low.output(node), [], 0, 0
    for t in node.args[0]:
        n, m = (1, *t.size)[-2:] if t.size else (1, 1)
        if n * m:
            parts.append((narrow(narrow(out, 0, row, n), 1, column, m), low.load(t, (n, m))))
        row, column = row + n, column + m
    join(low, out, parts)


def diagonal_embed(low: Lowering, node: Node) -> None:
    """`diag_embed(x, offset, dim1, dim2)`: the last dimension on a diagonal"""
    args, out = arguments_of(node), low.output(node)
    target = diagonal(out, args["offset"], args["dim1"], args["dim2"])
    embed(low, out, target, low.load(args["self"]))


TABLE: Table = {
    **{f"aten.{name}": rename_window for name in ("transpose_", "t_", "squeeze_", "unsqueeze_", "as_strided_")},
    "aten.add": add,
    "aten.roll": roll,
    "aten.rot90": rot90,
    "aten.block_diag": block_diagonal,
    "aten.diag_embed": diagonal_embed,
    "aten.select_backward": select_backward,
    "aten.slice_backward": slice_backward,
    "aten.diagonal_backward": diagonal_backward,
    "aten.select_scatter": select_scatter,
    "aten.slice_scatter": slice_scatter,
    "aten.diagonal_scatter": diagonal_scatter,
    "aten.cat": cat,
    "aten.stack": stack,
    "aten.constant_pad_nd": constant_pad_nd,
    "aten.flip": flip,
    "aten.repeat": repeat,
    "aten.tril": triangle(upper=False),
    "aten.triu": triangle(upper=True),
}
