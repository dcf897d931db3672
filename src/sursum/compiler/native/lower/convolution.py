"""Convolutions as sums over affine windows: of any rank, transposed or not, and their gradients.

Small ones are loops; larger ones unfold the windows of a sample into a matrix, and are its product with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.structure import embed, narrow
from sursum.compiler.native.lower.table import Table
from sursum.compiler.native.machine import BLAS_PRODUCT

#: The loop nest has batch, group, channel and place of the result, and channel and place of what is summed.
MOST = 3


def spread(low: Lowering, x: Ref, before: Sequence[int], after: Sequence[int], step: Sequence[int]) -> Ref:
    """x with its last dimensions `step` apart in zeros, and with zeros before and after; negative numbers cut."""
    lead = len(x.size) - len(before)
    source, size, starts = x, list(x.size), []
    for d, (b, a, s) in enumerate(zip(before, after, step, strict=True), lead):
        n = x.size[d]
        size[d] = b + (n - 1) * s + 1 + a
        first = max(-(b // s) if b < 0 else 0, 0)  # the first element that is not cut
        last = min(n - 1, (size[d] - 1 - b) // s)
        source = narrow(source, d, first, max(last - first + 1, 0))
        starts.append(b + first * s)
    if source is x and size == list(x.size):
        return x
    out = low.new(size)
    target = out
    for d, (start, s) in enumerate(zip(starts, step, strict=True), lead):
        target = narrow(target, d, start, source.size[d], s)
    embed(low, out, target, low.load(source))
    return out


def correlate(
    low: Lowering, out: Ref, x: Ref, weight: Ref, groups: int, step: Sequence[int], gap: Sequence[int],
    *, weight_first: bool, turned: bool,
) -> None:  # fmt: skip
    """out[n, g·O + o, s] = Σ_{c,k} x[n, g·C + c, s·step + k·gap] · w.

    w is weight[g·O + o, c, k], or weight[g·C + c, o, K − 1 − k] if not `weight_first` (and `turned`).
    """
    rank = len(step)
    outer, kernel = out.size[2:], weight.size[2:]
    mine, theirs = out.size[1] // groups, x.size[1] // groups
    size = (out.size[0], groups, mine, *outer, theirs, *kernel)
    zero = [0] * rank
    across, along = weight.stride[:2]
    group, own, summed = (mine * across, across, along) if weight_first else (theirs * across, along, across)
    sign, start = 1, weight.offset
    if turned:
        sign = -1
        start += sum((n - 1) * s for n, s in zip(kernel, weight.stride[2:], strict=True))
    if _is_large(mine, theirs, outer, kernel):
        ws = [group, own, summed, *(sign * s for s in weight.stride[2:])]
        matrix = (groups, mine, theirs, *kernel)
        w = low.dense(low.temporary(matrix, low.read(weight.value, Affine(start, tuple(ws)), matrix, "f")))
        _product(low, "su_correlate", out, out.size, x, w, groups, mine, outer, kernel, step, gap)
        return
    xs = [x.stride[0], theirs * x.stride[1], 0, *(s * t for s, t in zip(x.stride[2:], step, strict=True)),
          x.stride[1], *(s * t for s, t in zip(x.stride[2:], gap, strict=True))]  # fmt: skip
    ws = [0, group, own, *zero, summed, *(sign * s for s in weight.stride[2:])]
    product = low.e.mul(
        low.read(x.value, Affine(x.offset, tuple(xs)), size, "f"), low.read(weight.value, Affine(start, tuple(ws)), size, "f")
    )
    split = Ref(out.value, size[: 3 + rank], (out.stride[0], mine * out.stride[1], *out.stride[1:]), out.offset, out.dtype)
    low.reduce(split, "sum", size, range(3 + rank, len(size)), product)


def weigh(
    low: Lowering, out: Ref, small: Ref, large: Ref, groups: int, step: Sequence[int], gap: Sequence[int]
) -> None:  # fmt: skip
    """out[g·A + a, b, k] = Σ_{n,s} small[n, g·A + a, s] · large[n, g·B + b, s·step + k·gap]: the gradient by the weight"""
    rank = len(step)
    places, kernel = small.size[2:], out.size[2:]
    a, b = small.size[1] // groups, large.size[1] // groups
    if _is_large(a, b, places, kernel):
        _product(low, "su_weigh", out, out.size, large, low.dense(small), groups, a, places, kernel, step, gap)
        return
    size = (groups, a, b, *kernel, small.size[0], *places)
    zero = [0] * rank
    first = [a * small.stride[1], small.stride[1], 0, *zero, small.stride[0], *small.stride[2:]]
    second = [b * large.stride[1], 0, large.stride[1], *(s * t for s, t in zip(large.stride[2:], gap, strict=True)),
              large.stride[0], *(s * t for s, t in zip(large.stride[2:], step, strict=True))]  # fmt: skip
    product = low.e.mul(
        low.read(small.value, Affine(small.offset, tuple(first)), size, "f"),
        low.read(large.value, Affine(large.offset, tuple(second)), size, "f"),
    )
    split = Ref(out.value, size[: 3 + rank], (a * out.stride[0], *out.stride), out.offset, out.dtype)
    low.reduce(split, "sum", size, range(3 + rank, len(size)), product)


def _is_large(mine: int, theirs: int, places: Sequence[int], kernel: Sequence[int]) -> bool:
    width, count = theirs * math.prod(kernel), math.prod(places)
    return mine * width * count >= BLAS_PRODUCT and min(mine, width, count) > 1


def _product(
    low: Lowering, function: str, out: Ref, size: tuple[int, ...], x: Ref, other: Ref, groups: int, mine: int,
    places: Sequence[int], kernel: Sequence[int], step: Sequence[int], gap: Sequence[int],
) -> None:  # fmt: skip
    """`out` by a function of `emit/unfold.py`, which unfolds the windows of x; `other` is contiguous."""
    theirs = x.size[1] // groups
    columns = low.new((theirs * math.prod(kernel) * math.prod(places),))
    row = out if out.stride == contiguous(size) else low.new(size)
    numbers = [n for sizes in (places, kernel, x.size[2:], step, gap) for n in (*[1] * (MOST - len(sizes)), *sizes)]
    low.call(
        row, function, low.blas("dgemm"), low.blas("threads"), x.size[0], groups, mine, theirs, *numbers,
        low.dense(x), other, columns, row, also=(columns,),
    )  # fmt: skip
    if row is not out:
        low.define(out, low.load(row))


def _ones(step: Sequence[int]) -> list[int]:
    return [1] * len(step)


def _around(pad: Sequence[int], gap: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """How many zeros stand around a spread-out tensor of which a transposed convolution is a plain one."""
    return [g * (k - 1) - p for p, g, k in zip(pad, gap, kernel, strict=True)]


def _backwards(low: Lowering, out: Ref, x: Ref, weight: Ref, args: dict[str, list[int]], groups: int) -> None:
    """A transposed convolution of x, of whatever size `out` has."""
    step, pad, gap = args["stride"], args["padding"], args["dilation"]
    before = _around(pad, gap, weight.size[2:])
    reach = [(n - 1) * s + 1 for n, s in zip(x.size[2:], step, strict=True)]
    wanted = [n + g * (k - 1) for n, g, k in zip(out.size[2:], gap, weight.size[2:], strict=True)]
    after = [w - b - r for w, b, r in zip(wanted, before, reach, strict=True)]
    wide = spread(low, x, before, after, step)
    correlate(low, out, wide, weight, groups, _ones(step), gap, weight_first=False, turned=True)


def _check(low: Lowering, args: dict[str, list[int]], *refs: Ref) -> None:
    if len(args["stride"]) > MOST:
        low.fail("a convolution of more than three dimensions")
    if any(math.prod(ref.size) == 0 for ref in refs):
        low.fail("a convolution of nothing")


def convolution(low: Lowering, node: Node) -> None:
    """`convolution(x, w, b, stride, padding, dilation, transposed, output_padding, groups)`"""
    args = arguments_of(node)
    x, weight, bias, groups = args["input"], args["weight"], args["bias"], args["groups"]
    out = low.output(node)
    _check(low, args, x, weight, out)
    total = out if bias is None else low.new(out.size)
    if args["transposed"]:
        _backwards(low, total, x, weight, args, groups)
    else:
        wide = spread(low, x, args["padding"], args["padding"], _ones(args["stride"]))
        correlate(low, total, wide, weight, groups, args["stride"], args["dilation"], weight_first=True, turned=False)
    if bias is not None:
        vector = Ref(bias.value, (*bias.size, *[1] * len(args["stride"])), (*bias.stride, *[0] * len(args["stride"])),
                     bias.offset, bias.dtype)  # fmt: skip
        low.define(out, low.e.add(low.load(total), low.load(vector, out.size)))


def convolution_backward(low: Lowering, node: Node) -> None:
    """The gradients of a convolution by x, w and b"""
    args = arguments_of(node)
    grad, x, weight, groups = args["grad_output"], args["input"], args["weight"], args["groups"]
    step, pad, gap = args["stride"], args["padding"], args["dilation"]
    by_x, by_weight, by_bias = node.outputs
    _check(low, args, x, weight, grad)
    if by_x is not None:
        if args["transposed"]:
            wide = spread(low, grad, pad, pad, _ones(step))
            correlate(low, by_x, wide, weight, groups, step, gap, weight_first=True, turned=False)
        else:
            _backwards(low, by_x, grad, weight, args, groups)
    if by_weight is not None:
        small, large = (x, grad) if args["transposed"] else (grad, x)
        weigh(low, by_weight, small, spread(low, large, pad, pad, _ones(step)), groups, step, gap)
    if by_bias is not None:
        low.reduce(by_bias, "sum", grad.size, [d for d in range(len(grad.size)) if d != 1], low.load(grad))


TABLE: Table = {
    "aten.convolution": convolution,
    "aten.convolution_backward": convolution_backward,
}
