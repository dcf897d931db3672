"""Activations made of straight pieces, and their backward operators."""

from __future__ import annotations

from sursum.compiler.graph.graph import Node
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Table, formulas

#: 1/6 as torch has it, a float.
SIXTH = 0.1666666716337204


def leaky_relu(e: Exprs, x: Expr, slope: float = 0.01) -> Expr:
    """x above 0, else a·x"""
    return e.where(e.gt(x, e.const(0.0)), x, e.mul(x, e.const(slope)))


def leaky_relu_backward(e: Exprs, grad: Expr, x: Expr, slope: float, _is_result: bool) -> Expr:
    """∂ above 0, else a·∂"""
    return e.where(e.gt(x, e.const(0.0)), grad, e.mul(grad, e.const(slope)))


def hardsigmoid_backward(e: Exprs, grad: Expr, x: Expr) -> Expr:
    """∂/6 strictly between −3 and 3, else 0"""
    inside = e.all_of(e.gt(x, e.const(-3.0)), e.lt(x, e.const(3.0)))
    return e.where(inside, e.mul(grad, e.const(SIXTH)), e.const(0.0))


def hardswish_backward(e: Exprs, grad: Expr, x: Expr) -> Expr:
    """0 up to −3, ∂ from 3 on, ∂·(x/3 + ½) between, and NaN at NaN"""
    between = e.mul(grad, e.add(e.div(x, e.const(3.0)), e.const(0.5)))
    return e.where(e.le(x, e.const(-3.0)), e.const(0.0), e.where(e.ge(x, e.const(3.0)), grad, between))


def softshrink(e: Exprs, x: Expr, width: float = 0.5) -> Expr:
    """x towards 0 by w, and 0 within w of it"""
    w = e.const(width)
    above, below = e.sub(x, w), e.add(x, w)
    return e.where(e.gt(x, w), above, e.where(e.lt(x, e.const(-width)), below, e.mul(x, e.const(0.0))))


def shrink_backward(e: Exprs, grad: Expr, x: Expr, width: float) -> Expr:
    """∂ (at NaN too), and 0 where x is within w of 0"""
    inside = e.all_of(e.ge(x, e.const(-width)), e.le(x, e.const(width)))
    return e.where(inside, e.const(0.0), grad)


def prelu(e: Exprs, x: Expr, weight: Expr) -> Expr:
    """x above 0, else w·x"""
    return e.where(e.gt(x, e.const(0.0)), x, e.mul(weight, x))


def prelu_backward(low: Lowering, node: Node) -> None:
    """The derivatives of `prelu` by x and by w"""
    e, size = low.e, low.size(node)
    grad, x, weight = (low.load(ref, size) for ref in node.args)
    above = e.gt(x, e.const(0.0))
    low.define(low.output(node, 0), e.where(above, grad, e.mul(weight, grad)))
    low.define(low.output(node, 1), e.where(above, e.const(0.0), e.mul(x, grad)))


TABLE: Table = {
    **formulas({
        "aten.leaky_relu": leaky_relu,
        "aten.leaky_relu_backward": leaky_relu_backward,
        "aten.hardsigmoid_backward": hardsigmoid_backward,
        "aten.hardswish_backward": hardswish_backward,
        "aten.softshrink": softshrink,
        "aten.softshrink_backward": shrink_backward,
        "aten.hardshrink_backward": shrink_backward,
        "aten._prelu_kernel": prelu,
    }),
    "aten._prelu_kernel_backward": prelu_backward,
}  # fmt: skip
