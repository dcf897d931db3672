"""Arithmetic, comparison, logic and choice, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.table import Formula, formulas, number


def add(e: Exprs, a: Any, b: Any, alpha: float = 1) -> Expr:
    """a + α·b"""
    return e.add(number(e, a), _times(e, b, alpha))


def sub(e: Exprs, a: Any, b: Any, alpha: float = 1) -> Expr:
    """a − α·b"""
    return e.sub(number(e, a), _times(e, b, alpha))


def rsub(e: Exprs, a: Any, b: Any, alpha: float = 1) -> Expr:
    """b − α·a"""
    return e.sub(number(e, b), _times(e, a, alpha))


def _times(e: Exprs, x: Any, factor: float) -> Expr:
    x = number(e, x)
    return x if factor == 1 else e.mul(x, number(e, factor))


def div(e: Exprs, a: Any, b: Any, rounding_mode: str | None = None) -> Expr:
    """a / b, rounded down or towards zero if asked for."""
    a, b = number(e, a), number(e, b)
    if rounding_mode is None:
        return e.div(a, b)
    if rounding_mode == "floor":
        return floor_divide(e, a, b)
    if a.kind != "f" and b.kind != "f":
        return e.make("intdiv", e.promote(e.cast(a, "i"), b), kind="i")
    return e.call("trunc", e.div(a, b))


def floor_divide(e: Exprs, a: Any, b: Any) -> Expr:
    """a / b rounded down, as Python's //."""
    a, b = number(e, a), number(e, b)
    if a.kind != "f" and b.kind != "f":
        return e.make("intfloordiv", e.promote(e.cast(a, "i"), b), kind="i")
    return e.call("floordiv", a, b)


def remainder(e: Exprs, a: Any, b: Any) -> Expr:
    """a modulo b, with the sign of b."""
    a, b = number(e, a), number(e, b)
    if a.kind != "f" and b.kind != "f":
        return e.make("intmod", e.promote(e.cast(a, "i"), b), kind="i")
    return e.call("pymod", a, b)


def where(e: Exprs, condition: Expr, a: Any, b: Any) -> Expr:
    """a where the condition holds, else b."""
    return e.where(condition, number(e, a), number(e, b))


def masked_fill(e: Exprs, x: Expr, mask: Expr, value: Any) -> Expr:
    """The value where the mask holds, else x."""
    return e.where(mask, e.cast(number(e, value), x.kind), x)


def clamp(e: Exprs, x: Expr, lowest: Any = None, highest: Any = None) -> Expr:
    """x between bounds; NaN stays, and a NaN bound gives NaN."""
    if lowest is not None:
        bound = number(e, lowest)
        x = e.maximum(x, bound) if isinstance(lowest, Expr) else e.where(e.lt(x, bound), bound, x)
    if highest is not None:
        bound = number(e, highest)
        x = e.minimum(x, bound) if isinstance(highest, Expr) else e.where(e.gt(x, bound), bound, x)
    return x


def clamp_min(e: Exprs, x: Expr, lowest: Any) -> Expr:
    """x, at least this."""
    return clamp(e, x, lowest)


def clamp_max(e: Exprs, x: Expr, highest: Any) -> Expr:
    """x, at most this."""
    return clamp(e, x, None, highest)


def absolute(e: Exprs, x: Expr) -> Expr:
    """|x|"""
    if x.kind == "f":
        return e.call("fabs", x)
    return e.where(e.lt(x, e.const(0, "i")), e.neg(x), x)


def sign(e: Exprs, x: Expr) -> Expr:
    """−1, 0 or 1; 0 for NaN."""
    zero = e.const(0, x.kind)
    return e.cast(e.sub(e.cast(e.gt(x, zero), "i"), e.cast(e.lt(x, zero), "i")), x.kind)


def logical(op: str) -> Formula:
    """A logical operation on truth values."""

    return lambda e, a, b: _truth(e, op, number(e, a), number(e, b))


def _truth(e: Exprs, op: str, a: Expr, b: Expr) -> Expr:
    method: Callable[[Expr, Expr], Expr] = {"and": e.all_of, "or": e.any_of, "xor": e.differ}[op]
    return method(a, b)


def power(e: Exprs, a: Expr, b: Any) -> Expr:
    """a to a known power; integers are multiplied, so that they wrap."""
    if a.kind == "f" or not isinstance(b, int) or b < 0:
        return e.pow(a, e.const(b))
    found, square = e.const(1, "i"), e.cast(a, "i")
    while b:
        if b & 1:
            found = e.mul(found, square)
        square, b = e.mul(square, square), b >> 1
    return found


def bitwise(op: str) -> Formula:
    """A bitwise operation: logical on bools."""

    def formula(e: Exprs, a: Any, b: Any) -> Expr:
        a, b = number(e, a), number(e, b)
        if a.kind == b.kind == "b":
            return _truth(e, op, a, b)
        return e.make(op, (e.cast(a, "i"), e.cast(b, "i")), kind="i")

    return formula


def bitwise_not(e: Exprs, x: Expr) -> Expr:
    """Every bit turned; not, on bools."""
    return e.negate(x) if x.kind == "b" else e.sub(e.const(-1, "i"), x)


def compare(op: str) -> Formula:
    """A comparison; false where either side is NaN, but for ≠."""

    def formula(e: Exprs, a: Any, b: Any) -> Expr:
        method: Callable[[Expr, Expr], Expr] = {"lt": e.lt, "le": e.le, "gt": e.gt, "ge": e.ge, "eq": e.eq, "ne": e.ne}[op]
        return method(number(e, a), number(e, b))

    return formula


TABLE = formulas({
    "aten.add": add,
    "aten.sub": sub,
    "aten.rsub": rsub,
    "aten.mul": lambda e, a, b: e.mul(number(e, a), number(e, b)),
    "aten.div": div,
    "aten.neg": lambda e, x: e.neg(x),
    "aten.abs": absolute,
    "aten.sign": sign,
    "aten.sgn": sign,
    "aten.reciprocal": lambda e, x: e.div(e.const(1.0), x),
    "aten.addcmul": lambda e, x, a, b, value=1: e.add(x, _times(e, e.mul(a, b), value)),
    "aten.addcdiv": lambda e, x, a, b, value=1: e.add(x, e.div(_times(e, a, value), b)),
    "aten.lerp": lambda e, a, b, w: e.where(
        e.lt(e.call("fabs", number(e, w)), e.const(0.5)),
        e.add(a, e.mul(number(e, w), e.sub(b, a))),
        e.sub(b, e.mul(e.sub(b, a), e.sub(e.const(1.0), number(e, w)))),
    ),
    "aten.pow.Tensor_Scalar": power,
    "aten.pow.Tensor_Tensor": lambda e, a, b: e.call("pow", a, b),
    "aten.pow.Scalar": lambda e, a, b: e.const(1.0) if a == 1 else e.call("pow", e.const(a), b),
    "aten.maximum": lambda e, a, b: e.maximum(a, b),
    "aten.minimum": lambda e, a, b: e.minimum(a, b),
    "aten.clamp": clamp,
    "aten.clamp_min": clamp_min,
    "aten.clamp_max": clamp_max,
    "aten.where.self": where,
    "aten.masked_fill": masked_fill,
    "aten.floor_divide": floor_divide,
    "aten.remainder": remainder,
    "aten.fmod": lambda e, a, b: e.call("fmod", number(e, a), number(e, b)),
    **{f"aten.{op}": compare(op) for op in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{f"aten.logical_{op}": logical(op) for op in ("and", "or", "xor")},
    "aten.logical_not": lambda e, x: e.negate(x),
    **{f"aten.bitwise_{op}": bitwise(op) for op in ("and", "or", "xor")},
    "aten.bitwise_not": bitwise_not,
    "aten.isnan": lambda e, x: e.isnan(x),
    "aten.isinf": lambda e, x: e.eq(e.call("fabs", x), e.const(float("inf"))),
    "aten.nan_to_num": lambda e, x, nan=None, posinf=None, neginf=None: e.where(
        e.isnan(x),
        e.const(0.0 if nan is None else nan),
        e.where(
            e.eq(x, e.const(float("inf"))),
            e.const(1.7976931348623157e308 if posinf is None else posinf),
            e.where(
                e.eq(x, e.const(float("-inf"))), e.const(-1.7976931348623157e308 if neginf is None else neginf), x
            ),
        ),
    ),
})  # fmt: skip
