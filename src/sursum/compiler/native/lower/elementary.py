"""Elementary and special functions of one or two variables, element by element."""

from __future__ import annotations

from typing import Any

from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.table import formulas, number
from sursum.compiler.native.ops import OPS


def unary(function: str) -> Any:
    """A function of one variable."""
    return lambda e, x: e.call(function, x)


def xlogy(e: Exprs, a: Any, b: Any) -> Expr:
    """a·log b, which is 0 at a = 0 unless b is NaN."""
    a, b = e.double(number(e, a)), e.double(number(e, b))
    zero = e.eq(a, e.const(0.0))
    return e.where(e.isnan(b), e.const(float("nan")), e.where(zero, e.const(0.0), e.mul(a, e.call("log", b))))


def xlog1py(e: Exprs, a: Any, b: Any) -> Expr:
    """a·log(1 + b), which is 0 at a = 0 unless b is NaN."""
    a, b = e.double(number(e, a)), e.double(number(e, b))
    zero = e.eq(a, e.const(0.0))
    return e.where(e.isnan(b), e.const(float("nan")), e.where(zero, e.const(0.0), e.mul(a, e.call("log1p", b))))


def logaddexp(e: Exprs, a: Expr, b: Expr) -> Expr:
    """log(exp a + exp b)"""
    same = e.all_of(e.eq(a, b), e.eq(e.call("fabs", a), e.const(float("inf"))))
    both = e.add(e.maximum(a, b), e.call("log1p", e.call("exp", e.neg(e.call("fabs", e.sub(a, b))))))
    return e.where(same, a, both)


TABLE = formulas({
    **{f"aten.{op.torch}": unary(op.name) for op in OPS.values() if op.torch},
    "aten.rsqrt": lambda e, x: e.div(e.const(1.0), e.call("sqrt", x)),
    "aten.frac": lambda e, x: e.sub(x, e.call("trunc", x)),
    "aten.atan2": lambda e, a, b: e.call("atan2", a, b),
    "aten.hypot": lambda e, a, b: e.call("hypot", a, b),
    "aten.xlogy": xlogy,
    "aten.special_xlog1py": xlog1py,
    "aten.logaddexp": logaddexp,
})  # fmt: skip
