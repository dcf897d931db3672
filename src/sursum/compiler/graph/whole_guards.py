"""Guards that look at a condition itself, and not at one truth value of all its elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from sursum.compiler.graph.graph import Graph, Guard, Node, Ref

aten = torch.ops.aten

#: What says the same of all elements at once, by the kind of the guard.
_OF_ALL: Mapping[str, tuple[Any, ...]] = {
    "true": (aten._is_all_true.default, aten.all.default),
    "zero": (aten._is_any_true.default, aten.any.default),
}


def guard_elements(graph: Graph) -> Graph:
    """`graph` with each guard on `all(x)`, or on `any(x)` that must be 0, on x: a guard holds of every element anyway.

    Example:
        >>> from sursum.compiler.capture.capture import capture
        >>> from sursum.compiler.graph.dce import eliminate_dead_code
        >>> points = torch.ones(2).double(), torch.zeros(2).double()
        >>> check = lambda q: q if torch._is_all_true(q < 9.0) else None
        >>> graph = capture(lambda q: (check(q).sum(),), points, gradient=False)
        >>> [node.op.__name__ for node in eliminate_dead_code(guard_elements(graph)).nodes]
        ['lt.Scalar', 'sum.default']
    """
    looked_at = {guard.ref.value for guard in graph.guards}
    makers = {
        output.value: node
        for node in graph.nodes
        for output in node.outputs[:1]
        if output is not None and output.value in looked_at
    }
    return replace(graph, guards=tuple([_of_elements(guard, makers.get(guard.ref.value)) for guard in graph.guards]))


def _of_elements(guard: Guard, maker: Node | None) -> Guard:
    if maker is None or maker.writes or len(maker.args) != 1 or not any(maker.op is op for op in _OF_ALL[guard.kind]):
        return guard
    condition: Ref = maker.args[0]
    return replace(guard, ref=condition)
