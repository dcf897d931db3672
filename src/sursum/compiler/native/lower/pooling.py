"""Pooling over windows of a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.convolution import spread
from sursum.compiler.native.lower.normalise import reshape
from sursum.compiler.native.lower.scatter import scatter_at
from sursum.compiler.native.lower.structure import narrow
from sursum.compiler.native.lower.table import Table


def _pair(value: Sequence[int] | int, otherwise: Sequence[int] = (0, 0)) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if not value:
        return otherwise[0], otherwise[1]
    return value[0], value[-1]


def _planes(low: Lowering, ref: Ref) -> Ref:
    """A tensor as (planes, height, width)."""
    return reshape(low, ref, (math.prod(ref.size[:-2]), *ref.size[-2:]))


def _windows(x: Ref, out: Sequence[int], kernel: Sequence[int], step: Sequence[int], gap: Sequence[int]) -> tuple[
    tuple[int, ...], Affine
]:  # fmt: skip
    """The loop nest (plane, place, place in the window), and where it reads."""
    plane, *strides = x.stride
    coefs = [plane, *(s * t for s, t in zip(strides, step, strict=True)), *(s * g for s, g in zip(strides, gap, strict=True))]
    return (x.size[0], *out, *kernel), Affine(x.offset, tuple(coefs))


def max_pool(low: Lowering, node: Node) -> None:
    """`max_pool2d_with_indices`: the largest in each window, and where in the plane it stands first"""
    e, args, out = low.e, arguments_of(node), low.output(node)
    kernel = _pair(args["kernel_size"])
    step, pad, gap = _pair(args["stride"], kernel), _pair(args["padding"]), _pair(args["dilation"])
    x = _planes(low, args["self"])
    height, width = x.size[1:]
    after = [(o - 1) * s + g * (k - 1) + 1 - n - p
             for o, s, g, k, n, p in zip(out.size[-2:], step, gap, kernel, x.size[1:], pad, strict=True)]  # fmt: skip
    wide = _pad(low, x, pad, after)
    size, access = _windows(wide, out.size[-2:], kernel, step, gap)
    value = low.read(wide.value, access, size, "f")
    top = low.new(size[:3])
    low.reduce(top, "max", size, (3, 4), value)
    best = low.load(Ref(top.value, (*top.size, 1, 1), (*top.stride, 0, 0), 0, top.dtype), size)
    row = e.index(_meet(1, 3, step[0], gap[0], pad[0]))
    column = e.index(_meet(2, 4, step[1], gap[1], pad[1]))
    place = e.add(e.mul(row, e.const(width, "i")), column)
    hit = e.any_of(e.eq(value, best), e.isnan(value))
    inside = e.all_of(e.all_of(e.ge(row, e.const(0, "i")), e.lt(row, e.const(height, "i"))),
                      e.all_of(e.ge(column, e.const(0, "i")), e.lt(column, e.const(width, "i"))))  # fmt: skip
    first = low.new(size[:3], torch.int64)
    low.reduce(first, "min", size, (3, 4), e.where(e.all_of(hit, inside), place, e.const(height * width - 1, "i")))
    for k, ref in enumerate((top, first)):
        low.define(low.output(node, k), low.load(reshape(low, ref, out.size)))


def _meet(dim: int, inner: int, step: int, gap: int, pad: int) -> Affine:
    """The row (or column) that a place of the result and a place in its window meet."""
    return Affine(-pad, tuple(step if d == dim else gap if d == inner else 0 for d in range(5)))


def _pad(low: Lowering, x: Ref, before: Sequence[int], after: Sequence[int]) -> Ref:
    """x with −∞ around it."""
    if not any(before) and all(a <= 0 for a in after):
        return x
    after = [max(a, 0) for a in after]
    out = low.new([n + b + a for n, b, a in zip(x.size, (0, *before), (0, *after), strict=True)])
    low.declare(out)
    target = out
    for d, b in enumerate(before, 1):
        target = narrow(target, d, b, x.size[d])
    low.patch(out.value, low.e.const(float("-inf")), target, low.load(x))
    return out


def max_pool_backward(low: Lowering, node: Node) -> None:
    """∂ added where each window's largest stands"""
    e, args, out = low.e, arguments_of(node), low.output(node)
    grad, places = _planes(low, args["grad_output"]), _planes(low, args["indices"])
    plane = math.prod(out.size[-2:])
    low.declare(out)
    if out.stride != contiguous(out.size):
        low.fail("a result that is not contiguous")
    scatter_at(
        low,
        out.value,
        e.const(0.0),
        grad.size,
        Affine(out.offset, (plane, 0, 0)),
        low.load(grad),
        [low.load(places)],
        [1],
        add=True,
    )


def _average(low: Lowering, node: Node, x_size: Sequence[int], out_size: Sequence[int]) -> tuple[
    Ref, tuple[int, int], tuple[int, int], tuple[int, int]
]:  # fmt: skip
    """By what each window's sum is divided, the window, its step, the padding."""
    args = arguments_of(node)
    kernel = _pair(args["kernel_size"])
    step, pad = _pair(args["stride"], kernel), _pair(args["padding"])
    counts = []
    for n, o, k, s, p in zip(x_size, out_size, kernel, step, pad, strict=True):
        starts = torch.arange(o) * s - p
        ends = (starts + k).clamp(max=n + p)
        inside = args["count_include_pad"]
        counts.append((ends - starts if inside else ends.clamp(max=n) - starts.clamp(min=0)).double())
    count = counts[0][:, None] * counts[1]
    if args["divisor_override"]:
        count = torch.full_like(count, args["divisor_override"])
    return low.constant(count), kernel, step, pad


def average_pool(low: Lowering, node: Node) -> None:
    """`avg_pool2d`: the mean over each window"""
    out = low.output(node)
    x = _planes(low, arguments_of(node)["self"])
    counts, kernel, step, pad = _average(low, node, x.size[1:], out.size[-2:])
    after = [(o - 1) * s + k - n - p for o, s, k, n, p in zip(out.size[-2:], step, kernel, x.size[1:], pad, strict=True)]
    wide = spread(low, x, pad, [max(a, 0) for a in after], (1, 1))
    size, access = _windows(wide, out.size[-2:], kernel, step, (1, 1))
    total = low.new(size[:3])
    low.reduce(total, "sum", size, (3, 4), low.read(wide.value, access, size, "f"))
    mean = low.temporary(total.size, low.e.div(low.load(total), low.load(counts, total.size)))
    low.define(out, low.load(reshape(low, mean, out.size)))


def average_pool_backward(low: Lowering, node: Node) -> None:
    """∂ / count, added over the windows in which an element stands"""
    args, out = arguments_of(node), low.output(node)
    grad = _planes(low, args["grad_output"])
    counts, kernel, step, pad = _average(low, node, out.size[-2:], grad.size[1:])
    share = low.temporary(grad.size, low.e.div(low.load(grad), low.load(counts, grad.size)))
    before = [k - 1 - p for k, p in zip(kernel, pad, strict=True)]
    reach = [(n - 1) * s + 1 for n, s in zip(grad.size[1:], step, strict=True)]
    after = [n + k - 1 - b - r for n, k, b, r in zip(out.size[-2:], kernel, before, reach, strict=True)]
    wide = spread(low, share, before, after, step)
    size, access = _windows(wide, out.size[-2:], kernel, (1, 1), (1, 1))
    total = low.new(size[:3])
    low.reduce(total, "sum", size, (3, 4), low.read(wide.value, access, size, "f"))
    low.define(out, low.load(reshape(low, total, out.size)))


def _shares(low: Lowering, n: int, out: int) -> Ref:
    """(out, n): the weights with which n elements make means over `out` windows that cover them evenly."""
    weights = torch.zeros(out, n, dtype=torch.float64)
    for k in range(out):
        start, end = k * n // out, -(-(k + 1) * n // out)
        weights[k, start:end] = 1 / (end - start)
    return low.constant(weights)


def _separate(low: Lowering, x: Ref, out: Ref, rows: Ref, columns: Ref, *, turned: bool) -> None:
    """R·x·Cᵀ for each plane x, or Rᵀ·x·C."""
    planes = _planes(low, x)
    size = (planes.size[0], *out.size[-2:], *planes.size[1:])

    def weight(ref: Ref, mine: int, theirs: int) -> Expr:
        coefs = [0] * 5
        coefs[theirs if turned else mine], coefs[mine if turned else theirs] = ref.stride
        return low.read(ref.value, Affine(ref.offset, tuple(coefs)), size, "f")

    value = low.read(planes.value, Affine(planes.offset, (planes.stride[0], 0, 0, *planes.stride[1:])), size, "f")
    total = low.new(size[:3])
    e = low.e
    share = e.mul(weight(rows, 1, 3), weight(columns, 2, 4))
    product = e.where(e.eq(share, e.const(0.0)), share, e.mul(share, value))  # 0·∞ is not part of a mean
    low.reduce(total, "sum", size, (3, 4), product)
    low.define(out, low.load(reshape(low, total, out.size)))


def adaptive_average_pool(low: Lowering, node: Node) -> None:
    """`_adaptive_avg_pool2d(x, size)`: means over windows that cover the plane"""
    x, out = node.args[0], low.output(node)
    rows, columns = (_shares(low, n, o) for n, o in zip(x.size[-2:], out.size[-2:], strict=True))
    _separate(low, x, out, rows, columns, turned=False)


def adaptive_average_pool_backward(low: Lowering, node: Node) -> None:
    """The transpose of `adaptive_average_pool`"""
    grad, out = node.args[0], low.output(node)
    rows, columns = (_shares(low, n, o) for n, o in zip(out.size[-2:], grad.size[-2:], strict=True))
    _separate(low, grad, out, rows, columns, turned=True)


TABLE: Table = {
    "aten.max_pool2d_with_indices": max_pool,
    "aten.max_pool2d_with_indices_backward": max_pool_backward,
    "aten.avg_pool2d": average_pool,
    "aten.avg_pool2d_backward": average_pool_backward,
    "aten._adaptive_avg_pool2d": adaptive_average_pool,
    "aten._adaptive_avg_pool2d_backward": adaptive_average_pool_backward,
}
