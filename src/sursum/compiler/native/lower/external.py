"""Functions of somebody else's: one in C at an address that the data hold is called; one of Python has no C."""

from __future__ import annotations

from sursum.compiler.graph.graph import Graph, Node, operators_of
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Table


def external(low: Lowering, node: Node) -> None:
    """`external(x, pointers)`: the value at x, and its gradient"""
    x, pointers = node.args
    out = low.new(low.size(node))
    low.call(out, "su_external", x.size[0], low.dense(x), low.dense(pointers), out)
    low.define(low.output(node), low.load(out))


def calls_python(graph: Graph) -> bool:
    """Whether a graph calls a function of Python's, so that torch runs it, as it must."""
    return any(str(op).startswith("sursum.external_") for op in operators_of(graph.nodes))


def holds_address(graph: Graph) -> bool:
    """Whether a graph calls a C function at an address, which is one of this process alone."""
    return any(str(op).startswith("sursum.external.") for op in operators_of(graph.nodes))


TABLE: Table = {"sursum.external": external}
