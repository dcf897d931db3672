"""Common subexpression elimination: merge equal nodes, constants and guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.operators import Operator, running_averages, updates_statistics
from sursum.compiler.graph.assumption import equal_pair
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, is_inner, made_by, map_refs, operators_of, read_by
from sursum.compiler.graph.windows import same_geometry

_COMPARED = 4096  # constants of more elements are not compared with each other


def merge_equal_nodes(graph: Graph) -> Graph:
    """`graph` with equal nodes, constants and guards merged.

    Every operator of a graph is a function of its arguments, since those that write make a new version; two that draw are
    two draws, and a batch norm that is applied twice takes the batch into its running averages twice.
    """
    same: dict[int, int] = {}  # value → the equal one that stays
    kept: dict[Any, int] = {}
    assumed = list(graph.assumed)
    for value, constant in graph.constants.items():
        if constant.numel() <= _COMPARED:
            equal = kept.setdefault(_bits(constant), value)
            if equal != value:
                same[value] = equal
                assumed.append(equal_pair(equal, value))

    def current(ref: Ref) -> Ref:
        value = same.get(ref.value, ref.value)
        return ref if value == ref.value else Ref(value, ref.size, ref.stride, ref.offset, ref.dtype)

    averages = running_averages(graph.nodes)
    acting = {id(op) for op in operators_of(graph.nodes) if _may_act(op)}
    nodes: list[Node] = []
    known: dict[Any, Node] = {}
    for node in graph.nodes:
        renewed = node
        if not same.keys().isdisjoint(read_by(node)):
            args, kwargs = map_refs(node.args, current), map_refs(node.kwargs, current)
            writes = tuple(replace(write, window=current(write.window)) for write in node.writes)
            renewed = Node(node.op, args, kwargs, node.outputs, writes, node.where)
        alone = (id(node.op) in acting and _acts(node)) or not averages.isdisjoint(made_by(node))
        op = node.op if is_inner(node.op) else id(node.op)
        first = renewed if alone else known.setdefault((op, _key(renewed.args), _key(renewed.kwargs)), renewed)
        if first is not renewed and _same_results(first, renewed):
            for one, other in zip(first.outputs, renewed.outputs, strict=True):
                if one is not None and other is not None:
                    same[other.value] = one.value
            for mine, write in zip(first.writes, renewed.writes, strict=True):
                same[write.value] = mine.value
        else:
            nodes.append(renewed)
    guards: dict[tuple[Ref, str], Guard] = {}
    for guard in graph.guards:
        ref = current(guard.ref)
        guards.setdefault((ref, guard.kind), replace(guard, ref=ref))
    return replace(
        graph,
        nodes=tuple(nodes),
        guards=tuple(guards.values()),
        outputs=tuple(current(output) for output in graph.outputs),
        assumed=tuple(assumed),
    )


def _may_act(op: Any) -> bool:
    """Whether an operator does more than its results and writes tell, for some arguments."""
    if is_inner(op):
        return False
    facts = Operator.of(op)
    return facts.random or facts.batch_norm


def _acts(node: Node) -> bool:
    """Whether an operator does more than its results and writes tell."""
    return torch.Tag.nondeterministic_seeded in node.op.tags or updates_statistics(node)


def _same_results(one: Node, other: Node) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and same_geometry(a, b) and a.offset == b.offset)
        for a, b in zip(one.outputs, other.outputs, strict=True)
    )


def _bits(constant: Tensor) -> tuple[Any, ...]:
    return constant.dtype, constant.device, constant.contiguous().view(torch.uint8).numpy(force=True).tobytes()


def _key(tree: Any) -> Any:
    """Arguments as a key that distinguishes types, and floats by their bits (0.0 and -0.0 differ)."""
    if type(tree) is Ref:
        return tree
    if isinstance(tree, (list, tuple)):
        return tuple([_key(item) for item in tree])
    if not tree and type(tree) is dict:
        return ()
    if isinstance(tree, Mapping):
        return tuple((name, _key(item)) for name, item in sorted(tree.items()))
    if isinstance(tree, float):
        return "float", repr(tree)
    return type(tree), tree
