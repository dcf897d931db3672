"""Tensors from nothing, copies, conversions."""

from __future__ import annotations

from sursum.compiler.graph.graph import Node
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import kind_of
from sursum.compiler.native.lower.reduction import axis
from sursum.compiler.native.lower.table import Table, number


def full(low: Lowering, node: Node) -> None:
    """One number everywhere: `full(size, x)`, `full_like(tensor, x)`, `fill(tensor, x)`."""
    value = node.args[-1]
    if not isinstance(value, (int, float)):
        low.finish(node, low.load(value, low.size(node)))
        return
    low.finish(node, number(low.e, value))


def new_full(low: Lowering, node: Node) -> None:
    """`new_full(tensor, size, x)`"""
    low.finish(node, number(low.e, node.args[2]))


def zeros(low: Lowering, node: Node) -> None:
    """Zeros; also where torch leaves memory as it was."""
    low.finish(node, low.e.const(0.0))


def ones(low: Lowering, node: Node) -> None:
    """Ones."""
    low.finish(node, low.e.const(1.0))


def copy(low: Lowering, node: Node) -> None:
    """The same elements in memory, or of a dtype, of their own."""
    low.finish(node, low.load(node.args[0], low.size(node)))


def copy_into(low: Lowering, node: Node) -> None:
    """`copy_(tensor, source)`"""
    source = node.args[1]
    low.finish(node, low.load(source, low.size(node)))


def scalar_tensor(low: Lowering, node: Node) -> None:
    """`scalar_tensor(x)`"""
    low.finish(node, number(low.e, node.args[0]))


def eye(low: Lowering, node: Node) -> None:
    """`eye(n)`, `eye(n, m)`"""
    e = low.e
    low.finish(node, e.eq(e.index(axis(2, 0)), e.index(axis(2, 1))))


def arange(low: Lowering, node: Node) -> None:
    """`arange(end)`, `arange(start, end, step)`"""
    e, out = low.e, low.output(node)
    kind = kind_of(out.dtype)
    start = node.args[0] if len(node.args) > 1 else 0
    step = node.args[2] if len(node.args) > 2 else 1
    steps = e.mul(e.const(step, kind), e.cast(e.index(axis(1, 0)), kind))
    low.define(out, e.add(e.const(start, kind), steps))


TABLE: Table = {
    "aten.full": full,
    "aten.full_like": full,
    "aten.fill": full,
    "aten.new_full": new_full,
    "aten.zero": zeros,
    **{
        f"aten.{name}": zeros
        for name in ("zeros", "zeros_like", "new_zeros", "empty", "empty_like", "new_empty", "new_empty_strided",
                     "empty_strided")
    },
    **{f"aten.{name}": ones for name in ("ones", "ones_like", "new_ones")},
    "aten.scalar_tensor": scalar_tensor,
    "aten.eye": eye,
    "aten.arange": arange,
    "aten.clone": copy,
    "aten._to_copy": copy,
    "aten.copy": copy_into,
}  # fmt: skip
