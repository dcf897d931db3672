"""Activations of networks and the backward operators that go with them."""

from __future__ import annotations

import math
from typing import Any

from sursum.compiler.graph.graph import Node
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Table, formulas, number


def sigmoid(e: Exprs, x: Expr) -> Expr:
    """1 / (1 + z) where x ≥ 0, z / (1 + z) elsewhere, z = exp(−|x|): the exponential that log sigmoid and softplus have."""
    x, one = e.double(x), e.const(1.0)
    z = e.call("exp", e.neg(e.call("fabs", x)))
    return e.div(e.where(e.ge(x, e.const(0.0)), one, z), e.add(one, z))


def sigmoid_backward(e: Exprs, grad: Expr, y: Expr) -> Expr:
    """∂·(1 − y)·y"""
    return e.mul(e.mul(grad, e.sub(e.const(1.0), y)), y)


def tanh_backward(e: Exprs, grad: Expr, y: Expr) -> Expr:
    """∂·(1 − y²)"""
    return e.mul(grad, e.sub(e.const(1.0), e.mul(y, y)))


def threshold_backward(e: Exprs, grad: Expr, x: Expr, threshold: float) -> Expr:
    """∂ where x is above the threshold (or NaN), else 0"""
    return e.where(e.le(x, e.const(threshold)), e.const(0.0), grad)


def softplus(e: Exprs, x: Expr, beta: float = 1, threshold: float = 20) -> Expr:
    """log(1 + exp βx) / β, and x where βx is above the threshold"""
    scaled = e.mul(x, e.const(beta))
    soft = e.div(e.call("log1p", e.call("exp", scaled)), e.const(beta))
    return e.where(e.gt(scaled, e.const(threshold)), x, soft)


def softplus_backward(e: Exprs, grad: Expr, x: Expr, beta: float, threshold: float) -> Expr:
    """∂·z / (1 + z), z = exp βx, and ∂ above the threshold"""
    scaled = e.mul(x, e.const(beta))
    z = e.call("exp", scaled)
    return e.where(e.gt(scaled, e.const(threshold)), grad, e.div(e.mul(grad, z), e.add(z, e.const(1.0))))


def log_sigmoid(e: Exprs, x: Expr) -> Expr:
    """min(0, x) − log(1 + exp(−|x|))"""
    z = e.call("exp", e.neg(e.call("fabs", x)))
    return e.sub(e.minimum(e.const(0.0), x), e.call("log1p", z))


def log_sigmoid_forward(low: Lowering, node: Node) -> None:
    """log sigmoid, and a buffer that we do not need."""
    out = low.output(node)
    low.define(out, log_sigmoid(low.e, low.load(node.args[0])))
    buffer = node.outputs[1]
    if buffer is not None:
        x = low.load(node.args[0]) if buffer.size else low.e.const(0.0)
        low.define(buffer, low.e.call("exp", low.e.neg(low.e.call("fabs", x))))


def log_sigmoid_backward(low: Lowering, node: Node) -> None:
    """∂·(1[x < 0] − s·z/(1 + z)), z = exp(−|x|), s = ±1"""
    e, size = low.e, low.size(node)
    grad, x = low.load(node.args[0], size), low.load(node.args[1], size)
    negative = e.lt(x, e.const(0.0))
    z = e.call("exp", e.neg(e.call("fabs", x)))
    share = e.div(z, e.add(e.const(1.0), z))
    slope = e.sub(e.where(negative, e.const(1.0), e.const(0.0)), e.mul(e.where(negative, e.const(1.0), e.const(-1.0)), share))
    low.finish(node, e.mul(grad, slope))


def elu_backward(e: Exprs, grad: Expr, alpha: float, scale: float, input_scale: float, is_result: bool, x: Expr) -> Expr:
    """The derivative of `elu` (s·x above 0, else α·s·(exp(rx) − 1)), from its argument or from its result; NaN at NaN."""
    if is_result:
        low = e.mul(e.mul(grad, e.const(input_scale)), e.add(x, e.const(alpha * scale)))
    else:
        low = e.mul(e.mul(grad, e.const(input_scale * alpha * scale)), e.call("exp", e.mul(x, e.const(input_scale))))
    return e.where(e.gt(x, e.const(0.0)), e.mul(grad, e.const(scale)), low)


def gelu(e: Exprs, x: Expr, approximate: str = "none") -> Expr:
    """x·Φ(x), or its approximation by tanh"""
    half, one = e.const(0.5), e.const(1.0)
    if approximate == "tanh":
        inner = _gelu_inner(e, x)
        return e.mul(e.mul(half, x), e.add(one, e.call("tanh", inner)))
    return e.mul(e.mul(x, half), e.add(one, e.call("erf", e.mul(x, e.const(math.sqrt(0.5))))))


def _gelu_inner(e: Exprs, x: Expr) -> Expr:
    cube = e.mul(e.mul(x, x), x)
    return e.mul(e.const(math.sqrt(2 / math.pi)), e.add(x, e.mul(e.const(0.044715), cube)))


def gelu_backward(e: Exprs, grad: Expr, x: Expr, approximate: str = "none") -> Expr:
    """∂·(Φ(x) + x·φ(x)), or the derivative of the approximation"""
    half, one = e.const(0.5), e.const(1.0)
    if approximate == "tanh":
        t = e.call("tanh", _gelu_inner(e, x))
        slope = e.mul(e.const(math.sqrt(2 / math.pi)), e.add(one, e.mul(e.const(3 * 0.044715), e.mul(x, x))))
        left = e.mul(half, e.add(one, t))
        right = e.mul(e.mul(e.mul(half, x), e.sub(one, e.mul(t, t))), slope)
        return e.mul(grad, e.add(left, right))
    cdf = e.mul(half, e.add(one, e.call("erf", e.mul(x, e.const(math.sqrt(0.5))))))
    pdf = e.mul(e.call("exp", e.mul(e.mul(x, x), e.const(-0.5))), e.const(1 / math.sqrt(2 * math.pi)))
    return e.mul(grad, e.add(cdf, e.mul(x, pdf)))


def logit(e: Exprs, x: Expr, eps: float | None = None) -> Expr:
    """log(x / (1 − x)), x first clamped to [ε, 1 − ε] if ε is given"""
    if eps is not None:
        low, high = e.const(eps), e.const(1 - eps)
        x = e.where(e.lt(x, low), low, e.where(e.gt(x, high), high, x))
    return e.call("log", e.div(x, e.sub(e.const(1.0), x)))


def logit_backward(e: Exprs, grad: Expr, x: Expr, eps: float | None = None) -> Expr:
    """∂ / (x·(1 − x)) between ε and 1 − ε (between 0 and 1 without ε), beside it 0 (NaN), and NaN at NaN"""
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    slope = e.div(grad, e.mul(x, e.sub(e.const(1.0), x)))
    if eps is None:  # the sign of a zero does not matter
        edge = e.any_of(e.eq(x, e.const(0.0)), e.eq(x, e.const(1.0)))
        slope = e.where(edge, e.mul(grad, e.const(math.inf)), slope)
    outside = e.any_of(e.lt(x, e.const(low)), e.gt(x, e.const(high)))
    return e.where(outside, e.const(math.nan if eps is None else 0.0), slope)


def _mish_parts(e: Exprs, x: Expr) -> Expr:
    return e.call("tanh", e.call("log1p", e.call("exp", x)))


def mish_backward(e: Exprs, grad: Expr, x: Expr) -> Expr:
    """∂·(t + x·s·(1 − t²)), t = tanh log(1 + exp x), s = sigmoid x"""
    t, s = _mish_parts(e, x), sigmoid(e, x)
    return e.mul(grad, e.add(t, e.mul(e.mul(x, s), e.sub(e.const(1.0), e.mul(t, t)))))


def _relu(e: Exprs, x: Any) -> Expr:
    return e.where(e.lt(x, e.const(0, x.kind)), e.const(0, x.kind), x)


TABLE: Table = {
    **formulas({
        "aten.relu": _relu,
        "aten.threshold": lambda e, x, t, v: e.where(e.le(x, e.const(t)), number(e, v), x),
        "aten.threshold_backward": threshold_backward,
        "aten.sigmoid": sigmoid,
        "aten.sigmoid_backward": sigmoid_backward,
        "aten.tanh_backward": tanh_backward,
        "aten.softplus": softplus,
        "aten.softplus_backward": softplus_backward,
        "aten.elu_backward": elu_backward,
        "aten.gelu": gelu,
        "aten.gelu_backward": gelu_backward,
        "aten.logit": logit,
        "aten.logit_backward": logit_backward,
        "aten.mish": lambda e, x: e.mul(x, _mish_parts(e, x)),
        "aten.mish_backward": mish_backward,
    }),
    "aten.log_sigmoid_forward": log_sigmoid_forward,
    "aten.log_sigmoid_backward": log_sigmoid_backward,
}  # fmt: skip
