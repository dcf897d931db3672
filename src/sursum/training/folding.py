"""Compute once what is the same in every step, and keep what is the same everywhere as one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sursum.compiler.capture.operators import running_averages, updates_statistics
from sursum.compiler.graph.constant_folding import fill_of
from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, Value, made_by, map_refs, refs_of
from sursum.compiler.graph.python_codegen import step_line
from sursum.compiler.graph.windows import flat

#: A constant of more elements is computed in every step, unless it is one number.
_LARGEST = 1 << 20


def fold_steps(graph: Graph, inputs: Sequence[Ref], device: torch.device) -> Graph:
    """`graph` with what depends neither on an input nor on a draw computed once; guards on that are checked and dropped.

    A constant whose elements are all the same number, such as the logarithm of the scale of a prior of a million weights, takes
    one number of memory.
    """
    graph = _with_fills(eliminate_dead_code(graph, acts), device)
    varying = {ref.value for ref in inputs}
    averages = running_averages(graph.nodes)
    kept: list[Node] = []
    fixed: list[Node] = []
    for node in graph.nodes:
        # Memory that is written to afterwards is new in every step.
        memory = "empty" in node.op._schema.name or not averages.isdisjoint(made_by(node))
        if acts(node) or node.writes or memory or any(ref.value in varying for ref in refs_of(node)):
            varying.update(made_by(node))
            kept.append(node)
        else:
            fixed.append(node)
    wanted = {ref.value for node in kept for ref in refs_of(node)} | {ref.value for ref in graph.outputs}
    wanted |= {guard.ref.value for guard in graph.guards}
    ids = sorted({value for node in fixed for value in made_by(node)} & wanted)
    if not ids:
        return graph
    part = replace(graph, guards=(), outputs=tuple(flat(at, graph.values[at].numel, graph.values[at].dtype) for at in ids))
    _, run = step_line(eliminate_dead_code(replace(part, nodes=tuple(fixed))), ())
    with torch.no_grad():
        _, folded = run(None)
    constants, values, one = dict(graph.constants), dict(graph.values), set[int]()
    written = {write.window.value for node in kept for write in node.writes}
    large: set[int] = set()
    for value, found in zip(ids, folded, strict=True):
        if found.numel() > 1 and value not in written and _is_uniform(found):
            constants[value], values[value] = found[:1].clone(), Value(value, 1, found.dtype)
            one.add(value)
        elif found.numel() > _LARGEST:
            large.add(value)
        else:
            constants[value] = found

    def current(ref: Ref) -> Ref:
        return replace(ref, stride=(0,) * len(ref.size), offset=0) if ref.value in one else ref

    def known(guard: Guard) -> bool:
        constant = constants.get(guard.ref.value)
        return constant is not None and _holds(constant, current(guard.ref), guard)

    kept_at = {id(node) for node in (*kept, *_makers(fixed, large, constants))}
    renewed = [
        replace(node, args=map_refs(node.args, current), kwargs=map_refs(node.kwargs, current))
        for node in graph.nodes
        if id(node) in kept_at
    ]
    guards = tuple(replace(guard, ref=current(guard.ref)) for guard in graph.guards if not known(guard))
    outputs = tuple(map(current, graph.outputs))
    changed = replace(graph, values=values, constants=constants, nodes=tuple(renewed), guards=guards, outputs=outputs)
    return eliminate_dead_code(changed, acts)


def _with_fills(graph: Graph, device: torch.device) -> Graph:
    """`graph` with one number for every `ones_like(x)` and its like, of which only the shape matters, unless it is written."""
    written = running_averages(graph.nodes) | {write.window.value for node in graph.nodes for write in node.writes}
    constants, values = dict(graph.constants), dict(graph.values)
    one: set[int] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        fill, output = fill_of(node), node.outputs[0] if node.outputs else None
        if fill is None or output is None or output.value in written or "empty" in node.op._schema.name:
            nodes.append(node)
            continue
        constants[output.value] = torch.full((1,), fill, dtype=output.dtype, device=node.kwargs.get("device") or device)
        values[output.value] = Value(output.value, 1, output.dtype)
        one.add(output.value)

    def current(ref: Ref) -> Ref:
        return replace(ref, stride=(0,) * len(ref.size), offset=0) if ref.value in one else ref

    return replace(
        graph,
        values=values,
        constants=constants,
        nodes=tuple(replace(n, args=map_refs(n.args, current), kwargs=map_refs(n.kwargs, current)) for n in nodes),
        guards=tuple(replace(guard, ref=current(guard.ref)) for guard in graph.guards),
        outputs=tuple(map(current, graph.outputs)),
    )


def draws(node: Node) -> bool:
    """Whether an operator draws. One whose result nothing needs draws all the same: those after it depend on that."""
    return torch.Tag.nondeterministic_seeded in node.op.tags


def acts(node: Node) -> bool:
    """Whether an operator is needed even where nothing needs its result: it draws, or updates running averages."""
    return draws(node) or updates_statistics(node)


def _makers(nodes: Sequence[Node], values: set[int], known: Mapping[int, Tensor]) -> list[Node]:
    """The nodes that are needed to make these values from what is known."""
    needed, found = set(values), list[Node]()
    for node in reversed(nodes):
        if not needed.isdisjoint(made_by(node)):
            needed.update(ref.value for ref in refs_of(node) if ref.value not in known)
            found.append(node)
    return found


def _is_uniform(storage: Tensor) -> bool:
    return bool((storage == storage[0]).all())


def _holds(storage: Tensor, ref: Ref, guard: Guard) -> bool:
    seen = storage.as_strided(ref.size, ref.stride, ref.offset)
    return bool(seen.all()) if guard.kind == "true" else not bool(seen.any())
