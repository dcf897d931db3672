"""The table of operators: what it says of one holds of the function itself."""

from __future__ import annotations

import math

import pytest
import torch

from sursum.compiler.native.helpers import read_helper
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Exprs
from sursum.compiler.native.lower import OPERATORS
from sursum.compiler.native.ops import OPS, REDUCTIONS, VECTOR, OperatorCost, is_plain

GRID = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([0.0, -0.0, 5e-324, 1e-310, 1e300, -1e300])]).double()
NAMED = [op for op in OPS.values() if op.torch]


@pytest.mark.parametrize("op", NAMED, ids=lambda op: op.name)
def test_what_is_named_after_an_operator_of_torch_is_lowered(op):
    assert hasattr(torch.ops.aten, op.torch)
    assert f"aten.{op.torch}" in OPERATORS
    assert op.arity == 1


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.sign], ids=lambda op: op.name)
def test_signs_are_those_of_the_function(op):
    given = GRID if op.sign == "+" else GRID[GRID >= 0]
    found = getattr(torch.ops.aten, op.torch)(given)
    assert not (found < 0).any()
    assert op.sign == "+" or (getattr(torch.ops.aten, op.torch)(GRID) < 0).any()


def test_functions_of_ours_have_a_file_and_others_have_none():
    for op in OPS.values():
        assert (read_helper(op.name) is not None) == (op.form == "own"), op.name
        assert op.c or op.form in ("leaf", "special"), op.name


def test_a_function_of_libmvec_is_a_call():
    assert {"exp", "log", "pow"} <= VECTOR
    assert all(OPS[name].cost is OperatorCost.CALL and OPS[name].form == "call" for name in VECTOR)


def test_instructions_are_plain_and_fmod_is_a_call():
    """Rounding and `copysign` are an instruction or two; `fmod` is a loop of divisions in the C library."""
    assert all(is_plain(name) for name in ("sqrt", "fabs", "floor", "ceil", "trunc", "rint", "copysign", "add", "select"))
    assert not any(is_plain(name) for name in ("fmod", "exp", "lgamma", "intdiv"))


def test_every_operator_that_expressions_make_is_in_the_table():
    e = Exprs()
    x, k, b = (e.load(n, Affine(0, (1,)), kind) for n, kind in enumerate("fib"))
    numbers = ("add", "sub", "mul", "div", "pow", "lt", "le", "gt", "ge", "eq", "ne", "maximum", "minimum")
    made = [
        *(getattr(e, name)(x, k) for name in numbers),
        *(getattr(e, name)(b, k) for name in ("all_of", "any_of", "differ")),
        e.neg(x), e.negate(b), e.cast(x, "i"), e.isnan(x), e.where(b, x, k), e.double(k),
    ]  # fmt: skip
    for top in made:
        for part in top.walk():
            assert part.op in OPS
            assert part.op == "load" or len(part.args) == OPS[part.op].arity


def test_reductions_start_from_what_nothing_reduces_to():
    numbers = {"0.0": 0.0, "1.0": 1.0, "0": 0.0, "1": 1.0, "-INFINITY": -math.inf, "INFINITY": math.inf}
    for name, reduction in REDUCTIONS.items():
        for kind, start in reduction.start.items():
            if name in ("max", "min") and kind != "f":
                continue  # no integer is infinite
            assert numbers[start] == reduction.empty, name
