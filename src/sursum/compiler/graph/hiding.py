"""Whether a number may be in a graph without showing in its results.

`where(a > 3, n * a, a)` is a for all n while a is below 3: its results there do not tell that n is another number in each run.
"""

from __future__ import annotations

from typing import Any

import torch

from sursum.compiler.graph.dce import drop_guards
from sursum.compiler.graph.graph import Graph, Node, Ref, made_by, read_by, refs_of

aten = torch.ops.aten

_SHOWING: frozenset[Any] = frozenset(
    overload
    for packet in (
        *(
            aten.add,
            aten.sub,
            aten.rsub,
            aten.mul,
            aten.div,
            aten.neg,
            aten.reciprocal,
            aten.pow,
            aten.sqrt,
            aten.rsqrt,
            aten.abs,
        ),
        *(aten.exp, aten.expm1, aten.log, aten.log1p, aten.lgamma, aten.digamma, aten.xlogy, aten.sigmoid, aten.tanh),
        *(
            aten.abs,
            aten.log_sigmoid_forward,
            aten.erf,
            aten.erfc,
            aten.sin,
            aten.cos,
            aten.atan,
            aten.sum,
            aten.mean,
            aten.cumsum,
        ),
        *(aten.logsumexp, aten._softmax, aten._log_softmax, aten.dot, aten.mv, aten.mm, aten.bmm, aten.addmv, aten.addmm),
        *(aten.cat, aten.stack, aten.clone, aten.alias, aten._to_copy),
    )
    for overload in (getattr(packet, name) for name in packet.overloads())
)
"""Operators whose results depend on all of their arguments, at almost all numbers."""


def may_hide(graph: Graph) -> bool:
    """Whether an operator on the input, or on what is computed from it, may leave out some of its arguments.

    What is computed of constants alone is the same wherever the input is, and does not count; nor do guards. The −∞ of a
    density below 0 is no number of the program.
    """
    graph = drop_guards(graph)
    traced, makers = {graph.input}, dict[int, Node]()
    for node in graph.nodes:
        makers.update(dict.fromkeys(made_by(node), node))
        if traced.isdisjoint(read_by(node)):
            continue
        below = node.op is aten.ge.Scalar and node.args[1] == 0  # of use to `_is_support` alone
        if not (below or _is_support(node, makers) or (node.op in _SHOWING and _is_real(node, traced))):
            return True
        traced.update(made_by(node))
    return False


def _is_real(node: Node, traced: set[int]) -> bool:
    """Whether all that is computed from the input is real numbers: truth values and integers are the same at many points."""
    refs = (*(ref for ref in refs_of(node) if ref.value in traced), *(ref for ref in node.outputs if ref is not None))
    return all(ref.dtype.is_floating_point for ref in refs)


def _is_support(node: Node, makers: dict[int, Node]) -> bool:
    """Whether a node is a density that is −∞ where its argument is below 0."""
    if node.op is not aten.where.self or not all(isinstance(item, Ref) for item in node.args):
        return False
    condition, other = (makers.get(item.value) for item in (node.args[0], node.args[2]))
    if condition is None or other is None:
        return False
    return condition.op is aten.ge.Scalar and other.op is aten.scalar_tensor.default and other.args[0] == -torch.inf
