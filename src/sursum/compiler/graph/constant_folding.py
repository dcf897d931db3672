"""Constant folding: compute once what does not depend on q."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, made_by, operators_of, read_by
from sursum.compiler.graph.interpreter import Interpreter
from sursum.compiler.graph.python_codegen import step_line
from sursum.compiler.graph.retype import wide
from sursum.compiler.graph.windows import flat
from sursum.errors import CaptureError

_FILLED = {"empty": 0.0, "zeros": 0.0, "ones": 1.0}


def fold_constants(graph: Graph) -> Graph:
    """`graph` with the values that do not depend on q as constants, and with the guards on them checked and dropped.

    Raises:
        CaptureError: a guard on data alone fails in this graph's precision.
    """
    given = graph.constants.keys()
    graph = _fold_filled(graph)
    varying = {graph.input}
    kept: list[Node] = []
    fixed: list[Node] = []
    for node in graph.nodes:
        if not varying.isdisjoint(read_by(node)):
            varying.update(made_by(node))
            kept.append(node)
        else:
            fixed.append(node)
    used = {value for node in kept for value in read_by(node)} | {ref.value for ref in graph.outputs}
    wanted = used | {guard.ref.value for guard in graph.guards}
    ids = sorted({id for node in fixed for id in made_by(node)} & wanted)
    storages = tuple(flat(id, graph.values[id].numel, graph.values[id].dtype) for id in ids)
    part = eliminate_dead_code(replace(graph, nodes=tuple(fixed), guards=(), outputs=storages))
    checks = tuple(guard for guard in graph.guards if guard.ref.value not in varying)
    folding = FoldedConstants(part, tuple(ids), checks, {id: c for id, c in graph.constants.items() if id not in given})
    constants = dict(graph.constants) | folding.run()
    folding.check(constants)
    guards = tuple(guard for guard in graph.guards if guard.ref.value in varying)
    constants = {id: constant for id, constant in constants.items() if id in used}
    return replace(graph, constants=constants, nodes=tuple(kept), guards=guards, folding=folding)


@dataclass(frozen=True, eq=False)
class FoldedConstants:
    """How constants are computed of others: a graph of them alone.

    Args:
        part: its outputs are storages.
        made: which values these are.
        checks: the guards on constants.
        filled: constants that are the same for all data.
    """

    part: Graph
    made: tuple[int, ...]
    checks: tuple[Guard, ...]
    filled: Mapping[int, Tensor]

    def run(self) -> dict[int, Tensor]:
        """The constants that are computed, of the graph's own."""
        if not self.made:
            return {}
        with torch.no_grad():
            _, folded = Interpreter(self.part, guards=False)(
                torch.zeros(self.part.values[self.part.input].numel, dtype=torch.float64)
            )
        return dict(zip(self.made, folded, strict=True))

    def again(self, recorded: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """All constants, where those of the recording are these.

        Raises:
            CaptureError: a check on data alone fails.
        """
        constants = {id: constant.to(wide(constant.dtype)) for id, constant in recorded.items()} | dict(self.filled)
        if self.made:
            inputs, run = self._of_inputs
            with torch.no_grad():
                _, folded = run(None, *(constants[ref.value] for ref in inputs))
            constants |= zip(self.made, folded, strict=True)
        self.check(constants)
        return constants

    def check(self, constants: Mapping[int, Tensor]) -> None:
        """Check the guards on constants.

        Raises:
            CaptureError: one fails.
        """
        for guard in self.checks:
            _check(constants[guard.ref.value], guard.ref, guard.kind, place(guard.where))

    @cached_property
    def _of_inputs(self) -> tuple[Sequence[Ref], Callable[..., tuple[int | None, tuple[Tensor, ...]]]]:
        """The part as a function of its constants."""
        inputs = [flat(id, constant.numel(), constant.dtype) for id, constant in self.part.constants.items()]
        return inputs, step_line(replace(self.part, constants={}), inputs)[1]


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
    filling = {id(op) for op in operators_of(graph.nodes) if _may_fill(op)}
    for node in graph.nodes:
        if id(node.op) not in filling:
            nodes.append(node)
            continue
        fill, output = fill_of(node), node.outputs[0] if node.outputs else None
        if fill is None or output is None or node.writes:
            nodes.append(node)
        else:
            constants[output.value] = torch.full((graph.values[output.value].numel,), fill, dtype=output.dtype)
    if len(nodes) == len(graph.nodes):
        return graph
    return replace(graph, constants=constants, nodes=tuple(nodes))


def _may_fill(op: Any) -> bool:
    name = _base_name(op._schema.name)
    return name == "full" or name in _FILLED


def fill_of(node: Node) -> float | None:
    """The number with which `node` fills a new tensor; None if it is not such a node."""
    name = _base_name(node.op._schema.name)
    if name == "full":
        names = [argument.name for argument in node.op._schema.arguments][: len(node.args)]
        number = node.args[names.index("fill_value")] if "fill_value" in names else None
        return number if isinstance(number, (bool, int, float)) else None
    return _FILLED.get(name)


@lru_cache(maxsize=1024)
def _base_name(name: str) -> str:
    """The name of an operator without what says how the shape is given.

    >>> _base_name("aten::new_empty_strided"), _base_name("aten::full_like"), _base_name("aten::mul")
    ('empty', 'full', 'mul')
    """
    return name.removeprefix("aten::").removeprefix("new_").removesuffix("_like").removesuffix("_strided")
