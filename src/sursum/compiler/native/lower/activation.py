"""Activations of networks and the backward operators that go with them."""

from __future__ import annotations

import math
from typing import Any

from sursum.compiler.graph import Node
from sursum.compiler.native.expr import Expr, Exprs
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Table, formulas, number


def sigmoid(e: Exprs, x: Expr) -> Expr:
    """1 / (1 + exp(−x))"""
    return e.div(e.const(1.0), e.add(e.const(1.0), e.call("exp", e.neg(e.double(x)))))


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


def binary_cross_entropy_with_logits(low: Lowering, node: Node) -> None:
    """(1 − t)·x − w·log sigmoid x, w = 1 or (p − 1)·t + 1, weighted; none, mean or sum of it"""
    e = low.e
    x_ref, t_ref, weight, positive, reduction = (*node.args, None, None, 1)[:5]
    size = x_ref.size
    x, t = low.load(x_ref, size), low.load(t_ref, size)
    logs = log_sigmoid(e, x)
    if positive is not None:
        p = low.load(positive, size)
        logs = e.mul(logs, e.add(e.mul(e.sub(p, e.const(1.0)), t), e.const(1.0)))
    loss = e.sub(e.mul(e.sub(e.const(1.0), t), x), logs)
    if weight is not None:
        loss = e.mul(loss, low.load(weight, size))
    if reduction == 0:
        low.finish(node, loss)
        return
    total = low.new(())
    low.reduce(total, "sum", size, range(len(size)), loss)
    count = max(math.prod(size), 0)
    value = low.load(total)
    low.finish(node, value if reduction == 2 else e.div(value, e.const(count)))


def elu(e: Exprs, x: Expr, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Expr:
    """s·x above 0, else α·s·(exp(rx) − 1)"""
    low = e.mul(e.const(alpha * scale), e.call("expm1", e.mul(x, e.const(input_scale))))
    return e.where(e.le(x, e.const(0.0)), low, e.mul(x, e.const(scale)))


def elu_backward(e: Exprs, grad: Expr, alpha: float, scale: float, input_scale: float, is_result: bool, x: Expr) -> Expr:
    """The derivative of `elu`, from its argument or from its result."""
    if is_result:
        low = e.mul(e.mul(grad, e.const(input_scale)), e.add(x, e.const(alpha * scale)))
    else:
        low = e.mul(e.mul(grad, e.const(input_scale * alpha * scale)), e.call("exp", e.mul(x, e.const(input_scale))))
    return e.where(e.le(x, e.const(0.0)), low, e.mul(grad, e.const(scale)))


def silu_backward(e: Exprs, grad: Expr, x: Expr) -> Expr:
    """∂·s·(1 + x·(1 − s)), s = sigmoid x"""
    s, one = sigmoid(e, x), e.const(1.0)
    return e.mul(e.mul(grad, s), e.add(one, e.mul(x, e.sub(one, s))))


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


def leaky_relu(e: Exprs, x: Expr, slope: float = 0.01) -> Expr:
    """x above 0, else a·x"""
    return e.where(e.gt(x, e.const(0.0)), x, e.mul(x, e.const(slope)))


def leaky_relu_backward(e: Exprs, grad: Expr, x: Expr, slope: float, _is_result: bool) -> Expr:
    """∂ above 0, else a·∂"""
    return e.where(e.gt(x, e.const(0.0)), grad, e.mul(grad, e.const(slope)))


def hardtanh_backward(e: Exprs, grad: Expr, x: Expr, lowest: float, highest: float) -> Expr:
    """∂ strictly between the bounds, else 0"""
    inside = e.all_of(e.gt(x, e.const(lowest)), e.lt(x, e.const(highest)))
    return e.where(inside, grad, e.const(0.0))


def logit(e: Exprs, x: Expr, eps: float | None = None) -> Expr:
    """log(x / (1 − x)), x first clamped to [ε, 1 − ε] if ε is given"""
    if eps is not None:
        low, high = e.const(eps), e.const(1 - eps)
        x = e.where(e.lt(x, low), low, e.where(e.gt(x, high), high, x))
    return e.call("log", e.div(x, e.sub(e.const(1.0), x)))


def _relu(e: Exprs, x: Any) -> Expr:
    return e.where(e.le(x, e.const(0, x.kind)), e.const(0, x.kind), x)


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
        "aten.elu": elu,
        "aten.elu_backward": elu_backward,
        "aten.silu": lambda e, x: e.div(x, e.add(e.const(1.0), e.call("exp", e.neg(x)))),
        "aten.silu_backward": silu_backward,
        "aten.gelu": gelu,
        "aten.gelu_backward": gelu_backward,
        "aten.leaky_relu": leaky_relu,
        "aten.leaky_relu_backward": leaky_relu_backward,
        "aten.hardtanh_backward": hardtanh_backward,
        "aten.logit": logit,
    }),
    "aten.log_sigmoid_forward": log_sigmoid_forward,
    "aten.log_sigmoid_backward": log_sigmoid_backward,
    "aten.binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
}  # fmt: skip
