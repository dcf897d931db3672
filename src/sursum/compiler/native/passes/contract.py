"""Blocks of values: what is made in a tile and read nowhere else needs memory for one block of rows, not for all of them.

A block of rows is in the cache when it is read. Written to a place of its own it would go on to memory in the end, and its
place would have to be fetched first.
"""

from __future__ import annotations

from collections.abc import Sequence

from sursum.compiler.native.ir.program import Block, Group, Loop, LoopProgram
from sursum.compiler.native.passes.tile import reads_row_by_row, rows_of


def contract(program: LoopProgram) -> LoopProgram:
    """Finds the values of which tiles need one block at a time, and says so in the plan."""
    plan = program.planned
    kept = set(program.outputs) | {value for value, *_ in program.guards}
    kept |= {value for pair in program.in_place.items() for value in pair}
    makers: dict[int, int] = {}
    for stage in program.stages:
        for value in (stage.value, *getattr(stage, "also", ())):
            makers[value] = makers.get(value, 0) + 1
    users: dict[int, set[int]] = {}
    for g, group in enumerate(plan.groups):
        for stage in group.stages:
            for value in (stage.value, *stage.reads(), *stage.after):
                users.setdefault(value, set()).add(g)
    for first, last, count in plan.tiles:
        groups = plan.groups[first : last + 1]
        for group in groups:
            for stage in group.stages:
                value = stage.value
                if value in kept or value in plan.local or makers[value] > 1 or not users[value] <= set(range(first, last + 1)):
                    continue
                block = _block(program, stage, group, groups, count) if isinstance(stage, Loop) else None
                if block is not None:
                    plan.blocks[value] = block
    return program


def _block(program: LoopProgram, stage: Loop, group: Group, groups: Sequence[Group], count: int) -> Block | None:
    """How `count` rows of the value of a stage lie in memory; None where it must be there as a whole."""
    rows, numel = group.shape[group.row], program.data[stage.value].numel
    laid = rows_of(stage, group.row)
    if laid is None or count >= rows or stage.indices or numel % rows or laid.step * rows != (laid.period or numel):
        return None
    for other in groups:
        for reader in other.stages:
            if not isinstance(reader, Loop) or not reads_row_by_row(stage, group.row, laid, reader, other.row):
                return None
    return Block(laid, count, numel // rows * count)
