"""Constant folding: compute once what does not depend on q."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, Node, Ref, made_by, refs_of
from sursum.compiler.graph.python_codegen import straight_line
from sursum.compiler.graph.windows import flat
from sursum.errors import CaptureError

_FILLED = {"empty": 0.0, "zeros": 0.0, "ones": 1.0}


def fold_constants(graph: Graph) -> Graph:
    """`graph` with the values that do not depend on q as constants, and with the guards on them checked and dropped.

    Raises:
        CaptureError: a guard on data alone fails in this graph's precision.
    """
    graph = eliminate_dead_code(_fold_filled(graph))
    varying = {graph.input}
    kept: list[Node] = []
    fixed: list[Node] = []
    for node in graph.nodes:
        if any(ref.value in varying for ref in refs_of(node)):
            varying.update(made_by(node))
            kept.append(node)
        else:
            fixed.append(node)
    wanted = {ref.value for node in kept for ref in refs_of(node)}
    wanted |= {ref.value for ref in graph.outputs} | {guard.ref.value for guard in graph.guards}
    ids = sorted({id for node in fixed for id in made_by(node)} & wanted)
    storages = tuple(flat(id, graph.values[id].numel, graph.values[id].dtype) for id in ids)
    part = eliminate_dead_code(replace(graph, nodes=tuple(fixed), guards=(), outputs=storages))
    _, run = straight_line(part, guards=False, strided=True)
    with torch.no_grad():
        _, folded = run(torch.zeros(graph.values[graph.input].numel, dtype=torch.float64))
    constants = dict(graph.constants) | dict(zip(ids, folded, strict=True))
    for guard in graph.guards:
        if guard.ref.value not in varying:
            _check(constants[guard.ref.value], guard.ref, guard.kind, place(guard.where))
    guards = tuple(guard for guard in graph.guards if guard.ref.value in varying)
    return eliminate_dead_code(replace(graph, constants=constants, nodes=tuple(kept), guards=guards))


def _check(storage: Tensor, ref: Ref, kind: str, where: str) -> None:
    seen = storage.as_strided(ref.size, ref.stride, ref.offset)
    if not (seen.all() if kind == "true" else not seen.any()):
        raise CaptureError(
            f"a check of arguments that do not depend on the unknowns fails in double precision{where}: it held in the "
            "program's own precision only because of rounding. Move the argument away from the edge of its support."
        )


def _fold_filled(graph: Graph) -> Graph:
    """`graph` with a constant for every `zeros_like(x)` and similar, which use only the shape of x.

    Uninitialised memory is filled with zeros: a value must be the same in every run.
    """
    constants = dict(graph.constants)
    nodes: list[Node] = []
    for node in graph.nodes:
        fill, output = fill_of(node), node.outputs[0] if node.outputs else None
        if fill is None or output is None or node.writes:
            nodes.append(node)
        else:
            constants[output.value] = torch.full((graph.values[output.value].numel,), fill, dtype=output.dtype)
    return replace(graph, constants=constants, nodes=tuple(nodes))


def fill_of(node: Node) -> float | None:
    """The number with which `node` fills a new tensor; None if it is not such a node."""
    names = [argument.name for argument in node.op._schema.arguments]
    name = node.op._schema.name.removeprefix("aten::").removeprefix("new_").removesuffix("_like")
    if name == "full" and "fill_value" in names[: len(node.args)]:
        number = node.args[names.index("fill_value")]
        return number if isinstance(number, (bool, int, float)) else None
    return _FILLED.get(name.removesuffix("_strided"))
