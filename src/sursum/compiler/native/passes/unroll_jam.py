"""Unroll and jam: four rows at a time in nests that use the same vector for every row.

A product of a matrix and a vector loads the vector again for every row, and the transposed product loads and stores its sums
again for every row. Four rows at a time do that a fourth as often, and their sums do not wait for one another.
"""

from __future__ import annotations

from dataclasses import replace

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Exprs
from sursum.compiler.native.ir.program import Group, Loop, LoopProgram
from sursum.compiler.native.machine import JAM_COLUMNS, JAM_ROWS, JAM_STAGES
from sursum.compiler.native.ops import is_plain


def unroll_and_jam(program: LoopProgram) -> LoopProgram:
    """Gives the groups that gain by it a second body, of four rows."""
    for group in program.planned.groups:
        if _gains(group):
            loops = [stage for stage in group.stages if isinstance(stage, Loop)]
            group.jammed = [_move_stage(stage, row, program.exprs) for row in range(JAM_ROWS) for stage in loops]
    return program


def _gains(group: Group) -> bool:
    if len(group.shape) != 2 or group.serial or group.row or group.shape[0] < 2 * JAM_ROWS or group.shape[1] < JAM_COLUMNS:
        return False
    if len(group.stages) > JAM_STAGES:
        return False
    for stage in group.stages:
        if not isinstance(stage, Loop) or stage.indices or stage.mode not in ("set", "sum"):
            return False
        if stage.reduced not in (frozenset(), frozenset({0}), frozenset({1})):
            return False
        if any(not is_plain(x.op) for x in stage.expr.walk()):
            return False
    return any(isinstance(stage, Loop) and stage.reduced for stage in group.stages)


def _move_stage(stage: Loop, row: int, e: Exprs) -> Loop:
    """A stage, some rows further down."""
    index = [Affine(row, (1, 0)), Affine(0, (0, 1))]
    return replace(stage, expr=e.reindex(stage.expr, index, 2), store=stage.store.through(index, 2))
