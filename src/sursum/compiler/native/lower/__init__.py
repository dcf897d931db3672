"""Lowering: from ATen operators to loops. One file for each family of operators, one small function or formula each.

To add an operator, write its formula (see `arithmetic.py`) or its function (see `reduction.py`), put it into the table
at the end of that file, and add a row to the contract in `tests/compiler/native/test_operators.py`.
Imports `ir`; `build` imports it.
"""

from __future__ import annotations

from sursum.common.torch_private import OpOverload
from sursum.compiler.graph.graph import Graph, Node
from sursum.compiler.native.ir.program import LoopProgram
from sursum.compiler.native.lower import (
    activation,
    arithmetic,
    attention,
    convolution,
    elementary,
    external,
    factory,
    indexing,
    linalg,
    loss,
    lu,
    matmul,
    normalise,
    order,
    piecewise,
    pooling,
    recurrence,
    reduction,
    scan,
    softmax,
    special,
    spectral,
    structure,
)
from sursum.compiler.native.lower.collect import collect
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Lower, Table, names, operator_names
from sursum.compiler.native.unsupported import UnsupportedOperator

OPERATORS: Table = {
    **arithmetic.TABLE,
    **elementary.TABLE,
    **special.TABLE,
    **activation.TABLE,
    **piecewise.TABLE,
    **loss.TABLE,
    **factory.TABLE,
    **reduction.TABLE,
    **softmax.TABLE,
    **structure.TABLE,
    **indexing.TABLE,
    **matmul.TABLE,
    **linalg.TABLE,
    **lu.TABLE,
    **spectral.TABLE,
    **normalise.TABLE,
    **convolution.TABLE,
    **pooling.TABLE,
    **attention.TABLE,
    **order.TABLE,
    **scan.TABLE,
    **recurrence.TABLE,
    **external.TABLE,
}


def has_lowering(op: OpOverload) -> bool:
    """Whether the table has an operator, in some form."""
    return not OPERATORS.keys().isdisjoint(operator_names(op, writes=op._schema.is_mutable))


def lowering(node: Node) -> Lower:
    """The entry of the table for a node's operator.

    Raises:
        UnsupportedOperator: there is none.
    """
    for name in names(node):
        if name in OPERATORS:
            return OPERATORS[name]
    raise UnsupportedOperator(str(node.op), node.where, "")


def lower(graph: Graph, title: str, blas: list[str] | None = None) -> LoopProgram:
    """The loop program of a graph. A graph inside another shares its list of routines, `blas`.

    Raises:
        UnsupportedOperator: an operator, or this form of it, has no C.
    """
    low = Lowering(graph, title, lower)
    if blas is not None:
        low.program.blas = blas
    entries: dict[tuple[int, bool], Lower] = {}  # by id: the graph keeps its operators, whose names take long to ask for
    for node in graph.nodes:
        low.node = node
        key = id(node.op), bool(node.writes)
        try:
            entry = entries.get(key)
            if entry is None:
                entry = entries[key] = lowering(node)
            entry(low, node)
        except (NotImplementedError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UnsupportedOperator(str(node.op), node.where, f"in this form: {error}") from error
    low.node = None
    return collect(low)


__all__ = ["OPERATORS", "Lowering", "has_lowering", "lower", "lowering"]
