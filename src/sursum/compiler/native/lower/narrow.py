"""Integers of fewer than 64 bits: C computes in 64, and what leaves a smaller type wraps as it does in torch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sursum.compiler.native.ir.expr import Expr, Exprs

#: The smaller types, and their names in C.
NARROW = {torch.int32: "int32_t", torch.int16: "int16_t", torch.int8: "int8_t", torch.uint8: "uint8_t"}


def wrap(e: Exprs, expr: Expr, dtype: torch.dtype, dtype_of: Callable[[int], torch.dtype | None]) -> Expr:
    """An integer as memory of `dtype` holds it.

    Args:
        expr: of kind "i", if `dtype` is one of `NARROW`.
        dtype_of: the dtype of what a value holds, as far as that is known.

    Example:
        >>> e = Exprs()
        >>> wrap(e, e.const(200, "i"), torch.int8, lambda value: None).data
        -56
    """
    if dtype not in NARROW or _fits(expr, dtype, dtype_of):
        return expr
    if expr.op == "const":
        return e.const(int(torch.tensor(int(expr.data)).to(dtype)), "i")
    return e.make("narrow", (expr,), NARROW[dtype], "i")


def _fits(expr: Expr, dtype: torch.dtype, dtype_of: Callable[[int], torch.dtype | None]) -> bool:
    """Whether an integer is one of a dtype's."""
    if expr.op == "const":
        return bool(torch.iinfo(dtype).min <= expr.data <= torch.iinfo(dtype).max)
    if expr.op == "load":
        return _inside(dtype_of(expr.data[0]), dtype)
    if expr.op == "narrow":
        return any(name == expr.data and _inside(known, dtype) for known, name in NARROW.items())
    if expr.op == "select":
        return all(_fits(x, dtype, dtype_of) for x in expr.args[1:])
    if expr.op == "index":
        return dtype is torch.int32  # a tensor has fewer places
    return expr.op == "cast" and expr.args[0].kind == "b"


def _inside(one: torch.dtype | None, other: torch.dtype) -> bool:
    """Whether every integer of one dtype is one of another."""
    if one is torch.bool:
        return True
    if one is None or one.is_floating_point:
        return False
    return bool(torch.iinfo(other).min <= torch.iinfo(one).min and torch.iinfo(one).max <= torch.iinfo(other).max)
