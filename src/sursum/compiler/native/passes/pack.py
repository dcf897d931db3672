"""Panels: a constant matrix of which tiles read whole rows, laid out so that rows stand side by side.

A product with the rows of a matrix sums along each row, and its result is a number at a time; the product with the transpose
loads and stores its sums again for each row. Where the elements of some rows that lie in one column are neighbours, both go
down the columns with a vector of rows in registers, and no sum is ever taken across a vector but once, at the end.

What does not depend on q can be laid out again when the program is translated: panels of some rows, each column by column,
and after them the rows that are left, as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Group, Loop, LoopProgram, Panel
from sursum.compiler.native.machine import PANEL_COLUMNS, PANEL_ROWS


def pack(program: LoopProgram) -> LoopProgram:
    """Finds the groups of tiles that are products with a constant matrix, and lays the matrices out for them."""
    plan = program.planned
    packed: dict[tuple[int, Affine, int, int], int] = {}
    tiles = []
    for first, last, block in plan.tiles:
        found = [group for group in plan.groups[first : last + 1] if _products(program, group)]
        for group in found:
            _lay_out(program, group, packed)
        rows = plan.groups[first].shape[plan.groups[first].row]
        tiles.append((first, last, _whole(rows, block) if found else block))
    plan.tiles[:] = tiles
    if packed:
        used = {v for stage in program.stages for v in stage.reads()}
        for matrix, *_ in packed:
            if matrix not in used:
                program.constants.pop(matrix, None)
    return program


def _whole(rows: int, block: int) -> int:
    """How many rows go at a time: whole panels, if possible without a rest."""
    most = max(1, block // PANEL_ROWS)
    return PANEL_ROWS * next((n for n in range(most, most // 2, -1) if rows // PANEL_ROWS % n == 0), most)


def _products(program: LoopProgram, group: Group) -> bool:
    """Whether every stage of a nest is a product of the rows of a constant matrix, or of its columns."""
    fewest, most = PANEL_COLUMNS
    if len(group.shape) != 2 or group.row or group.shape[0] < 2 * PANEL_ROWS or not fewest <= group.shape[1] <= most:
        return False
    return all(isinstance(stage, Loop) and _split(program, stage) is not None for stage in group.stages)


def _split(program: LoopProgram, stage: Loop) -> tuple[Expr, Expr] | None:
    """The matrix, and what its elements are multiplied by, which varies with the dimension that is summed over alone."""
    if stage.mode != "sum" or len(stage.reduced) != 1 or stage.expr.op != "mul" or stage.expr.kind != "f":
        return None
    (summed,) = stage.reduced
    if summed == 1 and stage.store.coefs[0] != 1:
        return None
    for matrix, other in (stage.expr.args, stage.expr.args[::-1]):
        if matrix.op != "load" or matrix.kind != "f" or matrix.args or matrix.data[0] not in program.constants:
            continue
        varies = {d for affine in other.affines() for d, c in enumerate(affine.coefs) if c}
        # What a vector is loaded of lies in memory as it is wanted.
        ready = summed == 1 or (other.op == "load" and not other.args and other.kind == "f" and other.data[1].coefs == (1, 0))
        if min(matrix.data[1].coefs) > 0 and varies <= {summed} and ready and not any(load.args for load in other.loads()):
            return matrix, other
    return None


def _lay_out(program: LoopProgram, group: Group, packed: dict[tuple[int, Affine, int, int], int]) -> None:
    rows, columns = group.shape
    e = program.exprs
    for stage in group.stages:
        assert isinstance(stage, Loop)
        split = _split(program, stage)
        assert split is not None
        matrix, other = split
        value, access, _ = matrix.data
        key = (value, access, rows, columns)
        if key not in packed:
            window = partial(torch.as_strided, size=(rows, columns), stride=access.coefs, storage_offset=access.offset)
            packed[key] = program.derived(program.fresh(), value, partial(_panels_of, window), (rows, columns))
        laid_out = e.load(packed[key], Affine(0, (columns, 1)), "f")
        # The rows that are left over, which no panel holds, lie where this says.
        stage.expr = e.mul(laid_out, other)
        group.panels.append(Panel(laid_out, other))


def _panels_of(window: Callable[[Tensor], Tensor], storage: Tensor) -> Tensor:
    return _panels(window(storage))


def _panels(matrix: Tensor) -> Tensor:
    rows, columns = matrix.shape
    whole = rows // PANEL_ROWS * PANEL_ROWS
    panels = matrix[:whole].reshape(-1, PANEL_ROWS, columns).transpose(1, 2).reshape(-1)
    return torch.cat([panels, matrix[whole:].reshape(-1)])
