"""Cumulative sums and products."""

from __future__ import annotations

import math

from sursum.compiler.graph.graph import Node
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Lower, Table


def cumulative(function: str) -> Lower:
    """`cumsum(x, dim)` and such: a C function along one dimension. Integers go through doubles, exact up to 2⁵³."""

    def lower(low: Lowering, node: Node) -> None:
        x, dim = node.args[0], node.args[1]
        size = low.size(node)
        if math.prod(size) == 0 or not size:
            low.finish(node, low.load(x, size))
            return
        source = low.dense(x)
        own = low.new(size)
        low.call(own, function, *extents(size, dim), source, own)
        low.finish(node, low.load(own))

    return lower


def extents(size: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    """How many elements stand before, in and after a dimension."""
    dim %= len(size)
    return math.prod(size[:dim]), size[dim], math.prod(size[dim + 1 :])


TABLE: Table = {
    "aten.cumsum": cumulative("su_cumsum"),
    "aten.cumprod": cumulative("su_cumprod"),
    "aten.logcumsumexp": cumulative("su_logcumsumexp"),
}
