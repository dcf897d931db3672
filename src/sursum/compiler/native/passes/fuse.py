"""Fusion, first half: a pointwise value that is read in one place, or is cheap, goes into the loop that reads it."""

from __future__ import annotations

import math
from collections import Counter

from sursum.compiler.native.ir.affine import solve
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.ir.program import Call, Loop, LoopProgram, Operand
from sursum.compiler.native.machine import FUSED_DEPTH
from sursum.compiler.native.ops import OPS, OperatorCost, is_plain


def fuse(program: LoopProgram) -> LoopProgram:
    """Replaces loads of pointwise values by what they load; removes what is read no more."""
    single = _single(program)
    alone = {value for value, made in single.items() if math.prod(made.shape) == 1}
    uses: Counter[int] = Counter()
    for stage in program.stages:
        if isinstance(stage, Loop):
            uses.update(stage.reads())
        else:
            uses.update(dict.fromkeys(stage.reads(), 2))
    kept = set(program.outputs) | {value for value, *_ in program.guards} | set(program.in_place.values())
    overwritten = set(program.in_place.values())
    for stage in program.stages:
        if isinstance(stage, Loop) and not all(_stays(value, single, alone) for value in stage.reads()):
            _into(stage, single, alone, uses, kept, overwritten, program.exprs)
    _prune(program)
    return program


def _single(program: LoopProgram) -> dict[int, Loop]:
    """The values that one plain loop makes."""
    count: Counter[int] = Counter()
    found: dict[int, Loop] = {}
    for stage in program.stages:
        count[stage.value] += 1
        if isinstance(stage, Call):
            count.update(dict.fromkeys((stage.value, *stage.also), 2))
            count.update({a.value: 2 for a in stage.args if isinstance(a, Operand) and a.written})
        elif stage.mode == "set" and not stage.after:
            found[stage.value] = stage
    return {value: loop for value, loop in found.items() if count[value] == 1}


def _stays(value: int, single: dict[int, Loop], alone: set[int]) -> bool:
    """Whether loads of a value stay: several stages make it, or it is a single number, but not one that is known."""
    return value not in single or (value in alone and single[value].expr.op != "const")


def _into(
    stage: Loop, single: dict[int, Loop], alone: set[int], uses: Counter[int], kept: set[int], overwritten: set[int], e: Exprs
) -> None:
    domain, total = stage.shape, math.prod(stage.shape)

    def change(load: Expr) -> Expr | None:
        if load.op != "load" or load.args or load.data[0] == stage.value:
            return None
        value, access, _ = load.data
        if _stays(value, single, alone):
            return None
        made = single[value]
        if any(inner.data[0] in overwritten for inner in made.expr.loads()):
            return None  # a later version takes over that memory, perhaps before this stage runs
        light = all(OPS[x.op].cost is OperatorCost.FREE for x in (made.expr, *made.expr.args))
        if not light:
            size = math.prod(made.shape)
            if uses[value] != 1 or value in kept or total > size:
                return None
            if stage.mode in ("add", "put") and stage.indices and not _plain(made.expr):
                return None
            if stage.expr.depth + made.expr.depth > FUSED_DEPTH:
                return None
        index = solve(access, domain, made.store, made.shape)
        if index is None:
            return None
        return e.cast(e.reindex(made.expr, index, len(domain)), load.kind)

    if all(change(load) is None for x in (stage.expr, *stage.indices) for load in x.loads()):
        return  # as for most single numbers
    before = set(stage.reads())
    stage.expr = e.rewrite(stage.expr, change)
    stage.indices = tuple(e.rewrite(x, change) for x in stage.indices)
    for value in before - set(stage.reads()):
        uses[value] -= 1


def _plain(expr: Expr) -> bool:
    return all(is_plain(x.op) for x in expr.walk())


def _prune(program: LoopProgram) -> None:
    """Drops the stages of values that nothing needs."""
    needed = set(program.outputs) | {value for value, *_ in program.guards}
    kept = []
    for stage in reversed(program.stages):
        also = stage.also if isinstance(stage, Call) else ()
        if stage.value in needed or any(v in needed for v in also):
            kept.append(stage)
            needed.add(stage.value)
            needed.update(stage.reads())
            if stage.value in program.in_place:
                needed.add(program.in_place[stage.value])
    program.stages = kept[::-1]
