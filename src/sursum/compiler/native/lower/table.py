"""What a table of lowerings is made of, and how an operator finds its entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, map_refs
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.context import Lowering

#: Lowers one node: reads its arguments from the `Lowering`, and defines its results there.
Lower = Callable[[Lowering, Node], None]
#: From operator names, "aten.sum.dim_IntList" or "aten.add" for all overloads alike, to lowerings.
Table = Mapping[str, Lower]
#: A scalar formula: expressions for the tensors, Python's numbers for the rest.
Formula = Callable[..., Expr]


def names(node: Node) -> tuple[str, str]:
    """The full and the short name of a node's operator; one that writes into its argument has the name of the one
    that does not.

    Example: `aten.add_.Tensor` has the names "aten.add.Tensor" and "aten.add".
    """
    return operator_names(node.op, writes=bool(node.writes))


def operator_names(op: Any, *, writes: bool) -> tuple[str, str]:
    """The same of an operator that writes into its argument, or does not."""
    namespace, base, overload = str(op).split(".")
    if writes and torch.Tag.inplace_view not in op.tags and base.endswith("_") and not base.endswith("__"):
        base = base[:-1]
        if base == "pow":  # pow.Scalar is a number to the power of a tensor
            overload = f"Tensor_{overload}"
    return f"{namespace}.{base}.{overload}", f"{namespace}.{base}"


def number(e: Exprs, x: Any) -> Expr:
    """An expression for an argument that is one already or a Python number."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, bool):
        return e.const(x, "b")
    return e.const(x, "i" if isinstance(x, int) else "f")


def pointwise(formula: Formula) -> Lower:
    """The lowering of an operator that computes each element from the same elements of its arguments.

    `formula(e, …)` gets an `Exprs`, then what the operator gets: an expression in the place of each tensor.
    """

    def lower(low: Lowering, node: Node) -> None:
        size = low.size(node)

        def load(ref: Ref) -> Expr:
            return low.load(ref, size)

        args = map_refs(node.args, load)
        if not node.kwargs:  # as for most
            low.finish(node, formula(low.e, *args))
            return
        ignored = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking")
        kwargs = {k: v for k, v in node.kwargs.items() if k not in ignored}
        low.finish(node, formula(low.e, *args, **map_refs(kwargs, load)))

    return lower


def formulas(table: Mapping[str, Formula]) -> dict[str, Lower]:
    """A table of pointwise lowerings from one of formulas."""
    return {name: pointwise(formula) for name, formula in table.items()}
