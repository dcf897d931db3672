"""Sorting, and what is read off sorted rows; extremes so far; places in a sorted sequence. NaN counts as the largest."""

from __future__ import annotations

import math
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import kind_of
from sursum.compiler.native.lower.reduction import axis
from sursum.compiler.native.lower.scan import extents
from sursum.compiler.native.lower.structure import narrow, select
from sursum.compiler.native.lower.table import Lower, Table


def sort_rows(low: Lowering, x: Ref, dim: int, *, descending: bool) -> tuple[Ref, Ref]:
    """x sorted along a dimension, equals in the order in which they stand, and the places from which they come."""
    values, places = low.new(x.size), low.new(x.size, torch.int64)
    if math.prod(x.size) == 0 or not x.size:
        low.define(values, low.e.double(low.load(x)))
        low.define(places, low.e.const(0, "i"))
        return values, places
    sizes = extents(x.size, dim)
    low.call(values, "su_sort", *sizes, int(descending), low.dense(x), values, places, also=(places,))
    return values, places


def give(low: Lowering, node: Node, *found: Ref) -> None:
    """The results of a node, each of the shape of one of `found`."""
    for k, ref in enumerate(found):
        low.define(low.output(node, k), low.load(ref))


def sort(low: Lowering, node: Node) -> None:
    """`sort(x, dim, descending)`: values and places"""
    args = arguments_of(node)
    give(low, node, *sort_rows(low, args["self"], args["dim"], descending=args["descending"]))


def topk(low: Lowering, node: Node) -> None:
    """`topk(x, k, dim, largest)`: the first k of the sorted row"""
    args = arguments_of(node)
    x, dim = args["self"], args["dim"]
    found = sort_rows(low, x, dim, descending=args["largest"])
    if not x.size:
        give(low, node, *found)
        return
    give(low, node, *(narrow(ref, dim % len(x.size), 0, args["k"]) for ref in found))


def kthvalue(low: Lowering, node: Node) -> None:
    """`kthvalue(x, k, dim, keepdim)`: the k-th smallest, and where it stands"""
    args = arguments_of(node)
    x, dim = args["self"], args["dim"]
    found = sort_rows(low, x, dim, descending=False)
    if x.size:
        found = _at(found, dim, args["k"] - 1, keep=args["keepdim"])
    give(low, node, *found)


def _at(found: tuple[Ref, Ref], dim: int, k: int, *, keep: bool) -> tuple[Ref, Ref]:
    """Element k of sorted rows."""
    rank = len(found[0].size)
    cut = [narrow(ref, dim % rank, k, 1) if keep else select(ref, dim % rank, k) for ref in found]
    return cut[0], cut[1]


def median(low: Lowering, node: Node) -> None:
    """`median(x)`, `median(x, dim, keepdim)`: the lower median, NaN where the row has one"""
    e, args = low.e, arguments_of(node)
    x, dim = args["self"], args.get("dim", 0)
    if "dim" not in args:
        flat = low.temporary(x.size, low.load(x))
        x = Ref(flat.value, (math.prod(x.size),), (1,), 0, flat.dtype)
    if not x.size or math.prod(x.size) == 0:
        low.fail("the median of nothing, or of a number")
    dim %= len(x.size)
    n, keep = x.size[dim], args.get("keepdim", False)
    found = sort_rows(low, x, dim, descending=False)
    middle, last = (_at(found, dim, k, keep=keep) for k in ((n - 1) // 2, n - 1))
    poisoned = e.isnan(low.load(last[0]))
    value = e.where(poisoned, low.load(last[0]), low.load(middle[0]))
    if "dim" not in args:
        low.define(low.output(node), value)
        return
    first = low.new(middle[1].size, torch.int64)  # of the NaNs, the first
    mine = e.where(e.isnan(low.load(x)), e.index(axis(len(x.size), dim)), e.const(n - 1, "i"))
    low.reduce(first, "min", x.size, (dim,), mine)
    place = e.where(poisoned, low.load(first), low.load(middle[1]))
    give(low, node, low.temporary(middle[0].size, value), low.temporary(middle[1].size, place))


def extreme_so_far(sign: int) -> Lower:
    """`cummax(x, dim)` and `cummin(x, dim)`: values and the last place where each stands; NaN stays."""

    def lower(low: Lowering, node: Node) -> None:
        x, dim = node.args
        if math.prod(x.size) == 0 or not x.size:
            low.define(low.output(node, 0), low.load(x))
            low.define(low.output(node, 1), low.e.const(0, "i"))
            return
        values, places = low.new(x.size), low.new(x.size, torch.int64)
        low.call(values, "su_cumextreme", *extents(x.size, dim), sign, low.dense(x), values, places, also=(places,))
        give(low, node, values, places)

    return lower


def searchsorted(low: Lowering, node: Node) -> None:
    """`searchsorted(sequence, x, right)`, `bucketize(x, boundaries, right)`: how many elements stand before x"""
    e, args = low.e, arguments_of(node)
    if args.get("sorter") is not None:
        low.fail("a sorter")
    sequence: Ref = args["sorted_sequence"] if "sorted_sequence" in args else args["boundaries"]
    x: Any = args["self"]
    if not isinstance(x, Ref):
        low.fail("a number that is not a tensor")
    right = args["right"] or args.get("side") == "right"
    rank, count = len(x.size), sequence.size[-1]
    size = (*x.size, count)
    value = low.read(x.value, Affine(x.offset, (*Affine.over(x.size, x.stride).coefs, 0)), size, kind_of(x.dtype))
    own = (*sequence.stride[:-1], 0) if len(sequence.size) > 1 else (0,) * rank
    element = low.read(sequence.value, Affine(sequence.offset, (*own, sequence.stride[-1])), size, kind_of(sequence.dtype))
    if value.kind != element.kind:
        value, element = e.double(value), e.double(element)
    before = e.negate(e.gt(element, value) if right else e.ge(element, value))
    low.reduce(low.output(node), "sum", size, (rank,), e.cast(before, "i"))


def both_extremes(low: Lowering, node: Node) -> None:
    """`aminmax(x, dim, keepdim)`: the smallest and the largest"""
    args = arguments_of(node)
    x, dim = args["self"], args["dim"]
    if math.prod(x.size) == 0:
        low.fail("an extreme of nothing")
    dims = tuple(range(len(x.size))) if dim is None else (dim % len(x.size),) if x.size else ()
    for k, mode in enumerate(("min", "max")):
        low.reduce(low.output(node, k), mode, x.size, dims, low.load(x))


TABLE: Table = {
    "aten.sort": sort,
    "aten.topk": topk,
    "aten.kthvalue": kthvalue,
    "aten.median": median,
    "aten.cummax": extreme_so_far(1),
    "aten.cummin": extreme_so_far(-1),
    "aten.searchsorted": searchsorted,
    "aten.bucketize": searchsorted,
    "aten.aminmax": both_extremes,
}
