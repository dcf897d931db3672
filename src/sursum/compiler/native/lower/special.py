"""Special functions beyond those of the C library."""

from __future__ import annotations

import math
from typing import Any

from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.table import formulas, number
from sursum.compiler.native.ops import OPS


def polygamma(e: Exprs, n: int, x: Expr) -> Expr:
    """The derivative of order n of digamma; from the second on (−1)ⁿ⁺¹·n!·ζ(n + 1, x)"""
    if n < 2:
        return e.call("trigamma" if n else "digamma", x)
    sign = 1.0 if n % 2 else -1.0
    return e.mul(e.const(sign * math.gamma(n + 1)), e.call("zeta", e.const(n + 1.0), x))


def mvlgamma(e: Exprs, x: Expr, p: int) -> Expr:
    """log of the multivariate gamma function: p(p − 1)/4·log π + Σ log Γ(x − j/2), j = 0 … p − 1"""
    total = e.const(p * (p - 1) / 4 * math.log(math.pi))
    for j in range(p):
        total = e.add(total, e.call("lgamma", e.sub(x, e.const(j / 2))))
    return total


def ndtr_log(e: Exprs, x: Expr) -> Expr:
    """log Φ(x)"""
    t = e.mul(e.double(x), e.const(math.sqrt(0.5)))
    tail = e.sub(e.call("log", e.mul(e.call("erfcx", e.neg(t)), e.const(0.5))), e.mul(t, t))
    body = e.call("log1p", e.mul(e.call("erfc", t), e.const(-0.5)))
    return e.where(e.lt(x, e.const(-1.0)), tail, body)


def entropy(e: Exprs, x: Expr) -> Expr:
    """−x·log x, 0 at 0, −∞ below"""
    inner = e.neg(e.mul(x, e.call("log", x)))
    edge = e.where(e.eq(x, e.const(0.0)), e.const(0.0), e.const(-math.inf))
    return e.where(e.any_of(e.isnan(x), e.gt(x, e.const(0.0))), inner, edge)


def sinc(e: Exprs, x: Expr) -> Expr:
    """sin(πx) / (πx), 1 at 0"""
    t = e.mul(e.double(x), e.const(math.pi))
    return e.where(e.eq(x, e.const(0, x.kind)), e.const(1.0), e.div(e.call("sin", t), t))


def logaddexp2(e: Exprs, a: Expr, b: Expr) -> Expr:
    """log₂(2ᵃ + 2ᵇ)"""
    same = e.all_of(e.eq(a, b), e.eq(e.call("fabs", a), e.const(math.inf)))
    small = e.call("exp2", e.neg(e.call("fabs", e.sub(a, b))))
    both = e.add(e.maximum(a, b), e.mul(e.call("log1p", small), e.const(1 / math.log(2))))
    return e.where(same, a, both)


def heaviside(e: Exprs, x: Expr, at_zero: Any) -> Expr:
    """0 below 0, 1 above, a given value at 0"""
    zero = e.const(0.0)
    return e.where(e.eq(x, zero), number(e, at_zero), e.double(e.gt(x, zero)))


def extreme(best: str) -> Any:
    """The larger (or smaller) of two, whichever is not NaN."""

    def formula(e: Exprs, a: Expr, b: Expr) -> Expr:
        wins = e.gt(a, b) if best == "max" else e.lt(a, b)
        return e.where(e.any_of(e.isnan(b), wins), a, b)

    return formula


def of_ours(name: str) -> Any:
    """A special operator: its C function is passed first what of it is asked for."""

    def formula(e: Exprs, *args: Any) -> Expr:
        return e.call(name, e.const(float(args[-1])), *args[:-1])

    return formula


TABLE = formulas({
    "aten.polygamma": polygamma,
    "aten.mvlgamma": mvlgamma,
    "aten.special_zeta": lambda e, x, q: e.call("zeta", number(e, x), number(e, q)),
    "aten.i0": lambda e, x: e.call("bessel", e.const(0.0), e.const(0.0), x),
    "aten.special_i0e": lambda e, x: e.call("bessel", e.const(0.0), e.const(1.0), x),
    "aten.special_i1": lambda e, x: e.call("bessel", e.const(1.0), e.const(0.0), x),
    "aten.special_i1e": lambda e, x: e.call("bessel", e.const(1.0), e.const(1.0), x),
    **{f"sursum.{op.name}": of_ours(op.name) for op in OPS.values() if op.selects},
    "aten.special_erfcx": lambda e, x: e.call("erfcx", x),
    "aten.special_ndtri": lambda e, x: e.call("ndtri", x),
    "aten.special_log_ndtr": ndtr_log,
    "aten.special_entr": entropy,
    "aten.sinc": sinc,
    "aten.logaddexp2": logaddexp2,
    "aten.heaviside": heaviside,
    "aten.fmax": extreme("max"),
    "aten.fmin": extreme("min"),
    "aten.copysign": lambda e, a, b: e.call("copysign", number(e, a), number(e, b)),
    "aten.signbit": lambda e, x: e.lt(e.call("copysign", e.const(1.0), x), e.const(0.0)),
    "aten.deg2rad": lambda e, x: e.mul(e.double(x), e.const(math.pi / 180)),
    "aten.rad2deg": lambda e, x: e.mul(e.double(x), e.const(180 / math.pi)),
})  # fmt: skip
