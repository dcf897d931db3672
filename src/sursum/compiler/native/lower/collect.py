"""From definitions to a program: only what guards and outputs need, with memory taken over where an old version dies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.compiler.graph.graph import Guard, Ref
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Loop, LoopProgram, Operand
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import Made, Map, Patch

FLAT = Affine(0, (1,))


def collect(low: Lowering) -> LoopProgram:
    """The program of everything that the graph's guards and outputs need."""
    program = low.program
    guarded: set[int] = set()
    for guard in low.graph.guards:
        _guard(low, guard, guarded)
    for ref in low.graph.outputs:
        program.outputs.append(_output(low, ref))
    roots = {value for value, *_ in program.guards} | set(program.outputs)
    needed = _find_needed(low, roots)
    order = [value for value in low.definitions if value in needed]
    last = _last_readers(low, order, needed)
    taken: set[int] = roots - {v for v in roots if v in low.definitions and isinstance(low.definitions[v], Patch)}
    taken |= set(program.outputs)
    for place, value in enumerate(order):
        found = low.definitions[value]
        if isinstance(found, Map):
            program.stages.append(found.loop)
        elif isinstance(found, Patch):
            _materialise(low, value, needed, place, last, taken)
        else:
            _emit_stages(low, value, found, place, last, taken)
    program.drop_unread_constants()
    return program


def _guard(low: Lowering, guard: Guard, guarded: set[int]) -> None:
    e, ref = low.e, guard.ref
    expr = low.load(ref)
    holds = e.cast(expr, "b") if guard.kind == "true" else e.eq(expr, e.const(0, expr.kind))
    out = low.temporary((), e.const(1, "b"), "b") if math.prod(ref.size) == 0 else None
    if out is None:
        out = low.new((), torch.bool)
        low.reduce(out, "all", ref.size, range(len(ref.size)), holds)
    value = low.alias.get(out.value, out.value)
    if value not in guarded:
        guarded.add(value)
        low.program.guards.append((value, Affine(0, ()), guard.kind, guard.where))


def _output(low: Lowering, ref: Ref) -> int:
    """A value of its own that holds an output, contiguous."""
    expr = low.e.double(low.load(ref))
    shape, store = ref.size, Affine.over(ref.size, contiguous(ref.size))
    if expr.op == "load" and not expr.args:
        value, affine = expr.data[0], expr.data[1]
        own = value in low.definitions and value not in low.program.outputs
        if own and affine == store and low.program.data[value].numel == math.prod(shape):
            return int(value)
    copy = low.new(shape)
    low.declare(copy)
    loop = Loop(copy.value, shape, store, expr, "set", low.where)
    low.definitions[copy.value] = Map(loop)
    return copy.value


def _reads(low: Lowering, value: int) -> Sequence[int]:
    """The values that the stages of one value read (for a patch: its own piece)."""
    found = low.definitions[value]
    if isinstance(found, Map):
        return found.loop.reads()
    if isinstance(found, Patch):
        return found.piece.reads()
    reads: list[int] = []
    for stage in found.stages:
        reads += stage.reads()
        if isinstance(stage, Call):
            reads += [a.value for a in stage.args if isinstance(a, Operand) and a.value != value]
    return reads


def _find_needed(low: Lowering, roots: set[int]) -> set[int]:
    """Every value to be computed. A patch needs the sources of all its windows, down to a base that is not a patch."""
    needed: set[int] = set()
    walked: set[int] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value in needed or value not in low.definitions:
            continue
        needed.add(value)
        stack.extend(_reads(low, value))
        step: int | Expr = value
        while not isinstance(step, Expr) and step not in walked:
            step = low.alias.get(step, step)
            found = low.definitions.get(step)
            if not isinstance(found, Patch):
                stack.append(step)
                break
            walked.add(step)
            stack.extend(found.piece.reads())
            step = found.base
    return needed


def _last_readers(low: Lowering, order: Sequence[int], needed: set[int]) -> dict[int, int]:
    """For each value the place in `order` of the last that reads it."""
    last: dict[int, int] = {}
    for place, value in enumerate(order):
        for read in _reads(low, value):
            last[read] = place
        found = low.definitions[value]
        if isinstance(found, Patch):
            base = _base(low, found, needed)[0]
            if not isinstance(base, Expr):
                last[base] = place
    return last


def _base(low: Lowering, patch: Patch, needed: set[int]) -> tuple[int | Expr, list[Loop]]:
    """The nearest older version that exists anyway, or the number below all patches; and the pieces above it."""
    pieces = [patch.piece]
    step = patch.base
    while not isinstance(step, Expr):
        step = low.alias.get(step, step)
        found = low.definitions.get(step)
        if step in needed or not isinstance(found, Patch):
            break
        pieces.append(found.piece)
        step = found.base
    return step, pieces[::-1]


def _materialise(low: Lowering, value: int, needed: set[int], place: int, last: dict[int, int], taken: set[int]) -> None:
    """The stages of a patched value."""
    patch = low.definitions[value]
    assert isinstance(patch, Patch)
    base, pieces = _base(low, patch, needed)
    data = low.program.data[value]
    first: Loop | None
    if isinstance(base, Expr):
        first = Loop(value, (data.numel,), FLAT, low.e.cast(base, data.kind), "set", low.where)
    else:
        first = _take_over(low, value, base, place, last, taken)
    written = np.zeros(data.numel, dtype=bool)
    stages: list[Loop] = []
    same: dict[object, Loop] = {}
    bare = isinstance(base, Expr)
    for piece in pieces:
        window = _window(written, piece)
        mode, key = piece.mode, (piece.shape, piece.store)
        after: tuple[int, ...] = ()
        if window.any():
            after = (value,)
            if mode == "add" and key in same:  # the same window once more, and nothing across it in between
                same[key].expr = low.e.add(same[key].expr, piece.expr)
                continue
            same.clear()
            bare = bare and (mode == "set" or bool(window.all()))
        elif mode == "add" and isinstance(base, Expr) and base.data == 0:
            mode = "set"
        elif mode == "add":
            after, bare = (value,), False
        window[...] = True
        stages.append(Loop(value, piece.shape, piece.store, piece.expr, mode, piece.where, after=after))
        same[key] = stages[-1]
    bare = bare and bool(written.all())
    if first is not None and not bare:
        low.program.stages.append(first)
        for stage in stages:
            stage.after = (value, *stage.after)
    elif first is None:
        for stage in stages:
            stage.after = (*stage.after, value, low.program.in_place[value])
    low.program.stages.extend(stages)


def _window(array: NDArray[np.bool_], piece: Loop) -> NDArray[np.bool_]:
    """The elements of a flat array that a loop writes."""
    step = array.itemsize
    return np.lib.stride_tricks.as_strided(array[piece.store.offset :], piece.shape, tuple(c * step for c in piece.store.coefs))


def _take_over(low: Lowering, value: int, base: int, place: int, last: dict[int, int], taken: set[int]) -> Loop | None:
    """A stage that copies an older version, or None if its memory can simply be used on."""
    data = low.program.data
    free = (
        base in low.definitions
        and base not in taken
        and last.get(base, place) <= place
        and data[base].numel == data[value].numel > 1
        and data[base].kind == data[value].kind
    )
    if free:
        taken.add(base)
        low.program.in_place[value] = base
        return None
    n, kind = data[value].numel, data[value].kind
    return Loop(value, (n,), FLAT, low.e.load(base, FLAT, kind), "set", low.where)


def _emit_stages(low: Lowering, value: int, made: Made, place: int, last: dict[int, int], taken: set[int]) -> None:
    """The stages of a value that needs memory, in their order."""
    stages = list(made.stages)
    first = stages[0]
    if low.program.stages and first in low.program.stages[-2:]:
        return  # a further result of a call that stands already
    if len(stages) > 1 and isinstance(first, Loop) and isinstance(stages[1], Loop) and first.expr.op == "load":
        base, affine, _ = first.expr.data
        whole = affine == FLAT and first.store == FLAT and not first.expr.args
        again = any(read == base for stage in stages[1:] for read in stage.reads())
        if whole and not again and _take_over(low, value, base, place, last, taken) is None:
            del stages[0]
            stages[0].after = (value, base)
    for stage in stages[1:]:
        stage.after = (value, *stage.after)
    low.program.stages.extend(stages)
