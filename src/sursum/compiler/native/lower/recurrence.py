"""A loop in time: its step is lowered as a program of its own, which a C function runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Loop, LoopProgram, Operand, Recurrent
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import Made, kind_of
from sursum.compiler.native.lower.table import Table
from sursum.compiler.native.passes.reciprocals import multiply_by_reciprocals


@dataclass(frozen=True)
class _CarrySegment:
    """A part of the vector that a step is a function of, as an array of its own."""

    start: int
    stop: int
    value: int


def recurrence(low: Lowering, node: Node) -> None:
    """`recurrence(carry, [x of all steps], w)`: the sequences of the carry"""
    op: Any = node.op
    carry, each, fixed = node.args
    program = multiply_by_reciprocals(low.inner(op.graph, "a step", low.program.blas))
    width = sum(part.stop - part.start for part in op.carry)
    segments = [_CarrySegment(0, width, _parameter(program, "carry", (width,)))]
    for name, parts in (("row", op.each), ("fixed", op.fixed)):
        for k, part in enumerate(parts):
            size = (part.stop - part.start,)
            segments.append(_CarrySegment(part.start, part.stop, _parameter(program, f"{name}{k}", size)))
    _redirect(program, segments)
    program.dim = 0
    constants = sorted(program.constants.items(), key=lambda item: item[1])
    for k, (value, _) in enumerate(constants):
        program.parameters[value] = f"table{k}"
    program.constants = {}

    table, kept = low.new((op.length + 1, width)), low.new((op.length, sum(part.stop - part.start for part in op.kept)))
    low.declare(table)
    low.declare(kept)
    stages: list[Loop | Call] = []
    row = op.length * width if op.reverse else 0
    for part, ref in zip(op.carry, carry, strict=True):
        if math.prod(ref.size):
            store = Affine.over(ref.size, contiguous(ref.size), row + part.start)
            stages.append(Loop(table.value, ref.size, store, low.e.double(low.load(ref)), "set", low.where))
    moving = [_row_major(low, ref) for ref in each]
    still = [low.dense(ref) for ref in fixed] + [low.constant(program.arrays[place]) for _, place in constants]
    args = [_operand(low, ref) for ref in (*moving, *still)]
    written = [Operand(table.value, 0, True)]
    also: tuple[int, ...] = ()
    if op.kept:
        written.append(Operand(kept.value, 0, True))
        also = (kept.value,)
    name = f"loop_{len(low.program.loops)}"
    call = Call(table.value, name, ("self", *written, *args), low.where, also=also, checked=True)
    stages.append(call)
    low.definitions[table.value] = Made(tuple(stages))
    if op.kept:
        low.definitions[kept.value] = Made((call,))
    count = len(op.each)
    low.program.loops.append(
        Recurrent(
            call=call,
            program=program,
            length=op.length,
            reverse=op.reverse,
            width=width,
            kept=kept.size[1],
            outputs=[*(part.start for part in op.carry), *(width + part.start for part in op.kept)],
            carry=segments[0].value,
            rows=[(s.value, ref.stride[0]) for s, ref in zip(segments[1 : 1 + count], moving, strict=True)],
            fixed=[s.value for s in segments[1 + count :]] + [value for value, _ in constants],
        )
    )
    sources = [(part, table) for part in op.carry] + [(part, kept) for part in op.kept]
    for out, (part, source) in zip(node.outputs, sources, strict=True):
        if out is not None:
            size, stride = (source.size[0], *part.size), (source.size[1], *contiguous(part.size))
            low.define(out, low.load(Ref(source.value, size, stride, part.start, source.dtype)))


def _parameter(program: LoopProgram, name: str, size: tuple[int, ...]) -> int:
    """A value that the step is handed. Its name is none of those that the emitter makes, a letter and a number."""
    value = program.new(math.prod(size), "f", size)
    program.parameters[value] = name
    return value


def _row_major(low: Lowering, ref: Ref) -> Ref:
    """The tensor, or a copy of it, in which each row is one stretch of doubles."""
    rest = ref.size[1:]
    packed = all(a == b for n, a, b in zip(rest, ref.stride[1:], contiguous(rest), strict=True) if n != 1)
    return ref if packed and ref.stride[0] >= 0 and kind_of(ref.dtype) == "f" else low.dense(ref)


def _operand(low: Lowering, ref: Ref) -> Operand:
    return Operand(low.alias.get(ref.value, ref.value), ref.offset, False)


def _redirect(program: LoopProgram, segments: Sequence[_CarrySegment]) -> None:
    """Reads of the step's vector become reads of the array that holds that part of it."""
    e = program.exprs

    def place(low: int, high: int) -> _CarrySegment:
        found = next((s for s in segments if s.start <= low and high < s.stop), None)
        if found is None:
            raise NotImplementedError("a step reads across two of its arguments")
        return found

    for stage in program.stages:
        if isinstance(stage, Call):
            stage.args = tuple(
                Operand(s.value, arg.offset - s.start, False)
                if isinstance(arg, Operand) and arg.value == program.input and (s := place(arg.offset, arg.offset))
                else arg
                for arg in stage.args
            )
            continue

        def change(load: Expr, shape: tuple[int, ...] = stage.shape) -> Expr | None:
            if load.op != "load" or load.data[0] != program.input:
                return None
            _, affine, strides = load.data
            found = place(*affine.span(shape))
            return e.load(found.value, Affine(affine.offset - found.start, affine.coefs), load.kind, load.args, strides)

        stage.expr = e.rewrite(stage.expr, change)
        stage.indices = tuple(e.rewrite(index, change) for index in stage.indices)


TABLE: Table = {"sursum.recurrence": recurrence}
