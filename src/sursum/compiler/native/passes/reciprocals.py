"""Divisions by data become products with its reciprocals, where those are as good."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import Assumption
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.patterns import EXPRS
from sursum.compiler.native.ir.program import Compute, Loop, LoopProgram
from sursum.compiler.rules import Bound, Rule, Var, apply_first, op

#: Between these a reciprocal loses nothing.
TINY, HUGE = 1e-290, 1e290


def multiply_by_reciprocals(program: LoopProgram) -> LoopProgram:
    """x / c becomes x · (1 / c) for arrays c of data all of whose reciprocals are normal numbers."""
    terms = _Reciprocals(program)
    for stage in program.stages:
        if isinstance(stage, Loop) and any(x.op == "div" for x in stage.expr.walk()):
            stage.expr = program.exprs.rewrite(stage.expr, lambda x: apply_first(RECIPROCALS, terms, x, EXPRS))
    program.drop_unread_constants()
    return program


class _Reciprocals:
    """The reciprocals of arrays of data, made where they are first asked for."""

    def __init__(self, program: LoopProgram) -> None:
        self.program = program
        self._made: dict[int, int | None] = {}

    def of(self, value: int) -> int | None:
        """The array of reciprocals of an array of data; None if they are not all normal numbers."""
        if value not in self._made:
            self._made[value] = self._make(value)
        return self._made[value]

    def _make(self, value: int) -> int | None:
        program = self.program
        array = program.arrays[program.constants[value]]
        if not array.numel() or not _has_reciprocals(array):
            return None
        computed = program.computed.get(program.constants[value])
        if computed is not None:
            program.assumed.append(_all_have_reciprocals(computed))
        return program.derived(program.fresh(), value, torch.reciprocal, (array.numel(),))


def _has_array(terms: _Reciprocals, bound: Bound) -> bool:
    """Whether c is an element of an array of data that has reciprocals."""
    c: Expr = bound["c"]
    if c.op != "load" or c.args or c.kind != "f" or c.data[0] not in terms.program.constants:
        return False
    return terms.of(c.data[0]) is not None


def _product(terms: _Reciprocals, bound: Bound) -> Expr:
    value, affine, _ = bound["c"].data
    reciprocals = terms.of(value)
    assert reciprocals is not None  # the guard has asked
    e = terms.program.exprs
    return e.mul(bound["x"], e.load(reciprocals, affine, "f"))


RECIPROCALS: Sequence[Rule[_Reciprocals, Expr]] = (
    Rule("x / c → x · (1/c), c of data", op("div", Var("x"), Var("c")), guard=_has_array, replacement=_product),
)


def _all_have_reciprocals(computed: Compute) -> Assumption:
    return lambda constants: _has_reciprocals(computed(constants))


def _has_reciprocals(array: Tensor) -> bool:
    size = array.abs()
    return bool(((size > TINY) & (size < HUGE)).all())
