"""Divisions by data become products with its reciprocals, where those are as good."""

from __future__ import annotations

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import Assumption
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Compute, Loop, LoopProgram

#: Between these a reciprocal loses nothing.
TINY, HUGE = 1e-290, 1e290


def multiply_by_reciprocals(program: LoopProgram) -> LoopProgram:
    """x / c becomes x · (1 / c) for arrays c of data all of whose reciprocals are normal numbers."""
    e = program.exprs
    made: dict[int, int | None] = {}

    def reciprocal(value: int) -> int | None:
        if value not in made:
            made[value] = None
            array = program.arrays[program.constants[value]]
            if array.numel() and _has_reciprocals(array):
                made[value] = program.derived(program.fresh(), value, torch.reciprocal, (array.numel(),))
                computed = program.computed.get(program.constants[value])
                if computed is not None:
                    program.assumed.append(_all_have_reciprocals(computed))
        return made[value]

    def change(x: Expr) -> Expr | None:
        if x.op != "div" or x.args[1].op != "load" or x.args[1].args:
            return None
        value, affine, _ = x.args[1].data
        if value not in program.constants or x.args[1].kind != "f":
            return None
        other = reciprocal(value)
        if other is None:
            return None
        return e.mul(x.args[0], e.load(other, affine, "f"))

    for stage in program.stages:
        if isinstance(stage, Loop):
            stage.expr = e.rewrite(stage.expr, change)
    program.drop_unread_constants()
    return program


def _all_have_reciprocals(computed: Compute) -> Assumption:
    return lambda constants: _has_reciprocals(computed(constants))


def _has_reciprocals(array: Tensor) -> bool:
    size = array.abs()
    return bool(((size > TINY) & (size < HUGE)).all())
