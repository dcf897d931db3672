"""Dead code elimination: drop what neither an output nor a guard needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sursum.compiler.graph.graph import Graph, Node, made_by, read_by


def eliminate_dead_code(graph: Graph, keeps: Callable[[Node], bool] | None = None) -> Graph:
    """`graph` without the nodes, values and constants that neither an output, nor a guard, nor a node that it `keeps` needs."""
    needed = {ref.value for ref in graph.outputs} | {guard.ref.value for guard in graph.guards}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        made = made_by(node)
        if needed.isdisjoint(made) and (keeps is None or not keeps(node)):
            continue
        needed.update(made)
        needed.update(read_by(node))
        nodes.append(node)
    needed.add(graph.input)
    if len(nodes) == len(graph.nodes) and needed.issuperset(graph.values):
        return graph
    return replace(
        graph,
        values={id: value for id, value in graph.values.items() if id in needed},
        constants={id: constant for id, constant in graph.constants.items() if id in needed},
        nodes=tuple(reversed(nodes)),
    )


def drop_guards(graph: Graph) -> Graph:
    """`graph` without its guards, and without what only they need: for points at which they are known to hold."""
    return eliminate_dead_code(replace(graph, guards=()))
