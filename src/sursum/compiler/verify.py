"""Verify that a graph or a loop program is well formed: every read is after its write, in bounds, and of the right dtype.

In tests the verifier runs between passes. In production it does not: C is proved against the graph, and the graph
against the program.
"""

from __future__ import annotations

from collections.abc import Sequence

from sursum.common.torch_private import DisableTorchFunction
from sursum.compiler.graph.graph import Graph, Ref, Value, is_inner, refs_of
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Loop, LoopProgram, Stage
from sursum.compiler.native.ops import OPS, REDUCTIONS
from sursum.errors import CompileError


class VerificationError(CompileError):
    """The result of a compiler pass is not well formed: a bug in sursum."""


def verify(ir: Graph | LoopProgram, after: str) -> None:
    """Raise if `ir`, the result of the pass `after`, is not well formed.

    Raises:
        VerificationError: says what, and where.
    """
    with DisableTorchFunction():  # dtypes as they are, also inside of `in_double`
        faults = graph_faults(ir) if isinstance(ir, Graph) else program_faults(ir)
    if faults:
        raise VerificationError(f"after {after} the {type(ir).__name__.lower()} is not well formed: {'; '.join(faults[:3])}")


# Graphs ---------------------------------------------------------------------------------------------------------------


def graph_faults(graph: Graph) -> list[str]:
    """What is wrong with a graph.

    Example:
        >>> import torch
        >>> value = Value(0, 2, torch.float64)
        >>> graph_faults(Graph({0: value}, 0, {}, (), (), (Ref(0, (3,), (1,), 0, torch.float64),)))
        ['an output reads %0[3] of 2 elements']
    """
    faults: list[str] = []
    made = {graph.input, *graph.constants}
    for id, constant in graph.constants.items():
        value = graph.values.get(id)
        if value is None:
            faults.append(f"constant %{id} is not a value")
        elif constant.shape != (value.numel,) or constant.dtype is not value.dtype:
            faults.append(f"constant %{id} is {constant.dtype}{list(constant.shape)}, and its value {value}")
    for node in graph.nodes:
        for ref in (*refs_of(node), *(write.window for write in node.writes)):
            if not _is_fine(ref, made, graph):
                faults += _ref_faults(ref, made, graph, f"{node.op}")
        new = {out.value for out in node.outputs if out is not None}
        for write in node.writes:
            new.add(write.value)
            if graph.values[write.value].numel != graph.values[write.window.value].numel:
                faults.append(f"{node.op} makes a version %{write.value} of another size than %{write.window.value}")
        if new & made:
            faults.append(f"{node.op} makes %{min(new & made)} again")
        made |= new
        for out in node.outputs:
            if out is not None and not _is_fine(out, made, graph):
                faults += _ref_faults(out, made, graph, f"the result of {node.op}")
        if is_inner(node.op):
            faults += [f"{fault}, in a step" for fault in graph_faults(node.op.graph)]
    for guard in graph.guards:
        faults += _ref_faults(guard.ref, made, graph, "a guard")
        if guard.kind not in ("true", "zero"):
            faults.append(f"a guard of the kind {guard.kind!r}")
    for output in graph.outputs:
        faults += _ref_faults(output, made, graph, "an output")
    return faults


def _is_fine(ref: Ref, made: set[int], graph: Graph) -> bool:
    """Whether a reference has no faults, without words for each of the many that have none."""
    value = graph.values.get(ref.value)
    return ref.value in made and value is not None and not _window_faults(ref, value)


def _ref_faults(ref: Ref, made: set[int], graph: Graph, what: str) -> list[str]:
    value = graph.values.get(ref.value)
    if ref.value not in made or value is None:
        return [f"{what} reads %{ref.value} before it is made"]
    return [f"{what} reads {fault}" for fault in _window_faults(ref, value)]


def _window_faults(ref: Ref, value: Value) -> list[str]:
    if len(ref.size) != len(ref.stride):
        return [f"%{ref.value} of size {ref.size} by strides {ref.stride}"]
    if ref.dtype is not value.dtype:
        return [f"{ref} as {ref.dtype}, which holds {value.dtype}"]
    last = ref.offset
    for count, stride in zip(ref.size, ref.stride, strict=True):
        last += (count - 1) * stride
    if 0 not in ref.size and not 0 <= ref.offset <= last < value.numel:
        return [f"{ref} of {value.numel} elements"]
    return []


# Loop programs --------------------------------------------------------------------------------------------------------


def program_faults(program: LoopProgram) -> list[str]:
    """What is wrong with a loop program."""
    order = program.stages if program.plan is None else [s for group in program.plan.groups for s in group.stages]
    faults = _order_faults(program, order)
    for stage in order:
        where = f"the stage of v{stage.value}"
        if isinstance(stage, Loop):
            faults += [f"{where} {fault}" for fault in _loop_faults(program, stage)]
    if program.plan is not None:
        missing = {id(stage) for stage in program.stages} ^ {id(stage) for stage in order}
        if missing or len(order) != len(program.stages):
            faults.append("the groups do not hold every stage once")
        for group in program.plan.groups:
            if any(isinstance(stage, Loop) and stage.shape != group.shape for stage in group.stages):
                faults.append(f"a group over {group.shape} holds a stage over another range")
    return faults


def _order_faults(program: LoopProgram, order: Sequence[Stage]) -> list[str]:
    """Reads before the write. The stages of one value run one after another; it may be read once one of them has run."""
    faults: list[str] = []
    made = {program.input, *program.constants, *program.parameters}
    for stage in order:
        faults += [f"v{stage.value} reads v{value} before it is made" for value in stage.reads() if value not in made]
        made.add(stage.value)
        if isinstance(stage, Call):
            made.update(stage.also)
    wanted = [*program.outputs, *(value for value, *_ in program.guards)]
    return faults + [f"v{value} is wanted and never made" for value in wanted if value not in made]


def _loop_faults(program: LoopProgram, stage: Loop) -> list[str]:
    faults: list[str] = []
    data = program.data[stage.value]
    if 0 in stage.shape:
        return faults
    ndim = len(stage.shape)
    if len(stage.store.coefs) != ndim:
        return [f"has {ndim} dimensions and is stored by {len(stage.store.coefs)}"]
    if len(stage.indices) != len(stage.strides) or (stage.indices and stage.mode not in ("add", "put")):
        faults.append(f"of mode {stage.mode!r} has {len(stage.indices)} indices and {len(stage.strides)} strides")
    low, high = stage.store.span(stage.shape)
    if not stage.indices and not 0 <= low <= high < data.numel:
        faults.append(f"is stored at {low} to {high} of {data.numel} elements")
    if stage.reduced and (stage.mode not in REDUCTIONS or any(stage.store.coefs[d] for d in stage.reduced)):
        faults.append(f"of mode {stage.mode!r} reduces dimensions {sorted(stage.reduced)}")
    for top in stage.exprs():
        for expr in top.walk():
            faults += _expr_faults(program, stage, expr)
    return faults


def _expr_faults(program: LoopProgram, stage: Loop, expr: Expr) -> list[str]:
    op = OPS.get(expr.op)
    if op is None or (expr.op != "load" and len(expr.args) != op.arity):
        return [f"has the operator {expr.op!r} of {len(expr.args)} operands"]
    if expr.op == "index" and len(expr.data.coefs) != len(stage.shape):
        return [f"has an index in {len(expr.data.coefs)} variables"]
    if expr.op != "load":
        return []
    value, affine, strides = expr.data
    data = program.data.get(value)
    if data is None:
        return [f"reads v{value}, which is not a value"]
    if data.kind != expr.kind:
        return [f"reads v{value} as {expr.kind}, which holds {data.kind}"]
    if len(affine.coefs) != len(stage.shape) or len(expr.args) != len(strides):
        return [f"reads v{value} by an index in {len(affine.coefs)} variables"]
    low, high = affine.span(stage.shape)
    if not expr.args and not 0 <= low <= high < data.numel:
        return [f"reads v{value} at {low} to {high} of {data.numel} elements"]
    return []
