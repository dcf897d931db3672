"""Loss functions, and their backward operators: what programs hand to `factor`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.lower.activation import log_sigmoid
from sursum.compiler.native.lower.arithmetic import absolute, sign
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.indexing import places
from sursum.compiler.native.lower.reduction import axis, broadcast
from sursum.compiler.native.lower.table import Lower, Table

#: torch's numbers for "none", "mean" and "sum".
NONE, MEAN, SUM = 0, 1, 2
#: 10⁻¹² as torch has it, a float.
TINY = 9.999999960041972e-13
#: Formulas of a loss and of its derivative by the first argument.
Loss = Callable[[Exprs, Expr, Expr, float], Expr]


def finish(low: Lowering, node: Node, loss: Expr, size: tuple[int, ...], reduction: int) -> None:
    """A node's result: the losses, their mean or their sum."""
    if reduction == NONE:
        low.finish(node, loss)
        return
    total = low.new(())
    low.reduce(total, "sum", size, range(len(size)), loss)
    value = low.load(total)
    low.finish(node, value if reduction == SUM else low.e.div(value, low.e.const(math.prod(size))))


def pairwise(formula: Loss) -> Lower:
    """The lowering of a loss of x and a target."""

    def lower(low: Lowering, node: Node) -> None:
        args = arguments_of(node)
        x, target = args["self"], args["target"]
        size = broadcast(x.size, target.size)
        loss = formula(low.e, low.load(x, size), low.load(target, size), 0.0)
        finish(low, node, loss, size, args["reduction"])

    return lower


def pairwise_backward(slope: Loss, parameter: str | None = None) -> Lower:
    """The lowering of the gradient of such a loss."""

    def lower(low: Lowering, node: Node) -> None:
        e, args, size = low.e, arguments_of(node), low.size(node)
        grad, x, target = (low.load(args[name], size) for name in ("grad_output", "self", "target"))
        value = e.mul(grad, slope(e, x, target, args[parameter] if parameter else 0.0))
        low.finish(node, e.div(value, e.const(math.prod(size))) if args["reduction"] == MEAN else value)

    return lower


def _smooth_slope(e: Exprs, x: Expr, t: Expr, beta: float) -> Expr:
    away = e.sub(x, t)
    outside = e.ge(absolute(e, away), e.const(beta))
    return e.where(outside, sign(e, away), e.div(away, e.const(beta)))


def _margin(e: Exprs, x: Expr, t: Expr, _: float) -> Expr:
    return e.call("log1p", e.call("exp", e.neg(e.mul(t, x))))


def _margin_slope(e: Exprs, x: Expr, t: Expr, _: float) -> Expr:
    z = e.call("exp", e.neg(e.mul(t, x)))
    return e.div(e.mul(e.neg(t), z), e.add(e.const(1.0), z))


def binary_cross_entropy(low: Lowering, node: Node) -> None:
    """−w·(t·log x + (1 − t)·log(1 − x)), logarithms at least −100"""
    e, args = low.e, arguments_of(node)
    size = args["self"].size
    x, t = low.load(args["self"]), low.load(args["target"], size)

    def log(function: str, of: Expr) -> Expr:
        return e.maximum(e.call(function, of), e.const(-100.0))

    loss = e.sub(e.mul(e.sub(t, e.const(1.0)), log("log1p", e.neg(x))), e.mul(t, log("log", x)))
    if args["weight"] is not None:
        loss = e.mul(loss, low.load(args["weight"], size))
    finish(low, node, loss, size, args["reduction"])


def binary_cross_entropy_backward(low: Lowering, node: Node) -> None:
    """∂·w·(x − t) / max((1 − x)·x, 10⁻¹²)"""
    e, args, size = low.e, arguments_of(node), low.size(node)
    grad, x, t = (low.load(args[name], size) for name in ("grad_output", "self", "target"))
    spread = e.maximum(e.mul(e.sub(e.const(1.0), x), x), e.const(TINY))
    value = e.div(e.mul(grad, e.sub(x, t)), spread)
    if args["weight"] is not None:
        value = e.mul(value, low.load(args["weight"], size))
    low.finish(node, e.div(value, e.const(math.prod(size))) if args["reduction"] == MEAN else value)


def binary_cross_entropy_with_logits(low: Lowering, node: Node) -> None:
    """(1 − t)·x − w·log sigmoid x, w = 1 or (p − 1)·t + 1, weighted"""
    e, args = low.e, arguments_of(node)
    size = args["self"].size
    x, t = low.load(args["self"]), low.load(args["target"], size)
    logs = log_sigmoid(e, x)
    if args["pos_weight"] is not None:
        p = low.load(args["pos_weight"], size)
        logs = e.mul(logs, e.add(e.mul(e.sub(p, e.const(1.0)), t), e.const(1.0)))
    loss = e.sub(e.mul(e.sub(e.const(1.0), t), x), logs)
    if args["weight"] is not None:
        loss = e.mul(loss, low.load(args["weight"], size))
    finish(low, node, loss, size, args["reduction"])


def _classes(low: Lowering, args: dict[str, Any]) -> tuple[Ref, Ref | None, int]:
    """The class of each row; which of them are not ignored, if some are; the classes' dimension."""
    x, target, ignored = args["self"], args["target"], args["ignore_index"]
    dim = min(1, len(x.size) - 1)
    known = low.known(target)
    if known is None:
        low.fail("classes that depend on the unknowns")
        raise AssertionError
    out = known == ignored
    chosen = places(low, low.constant(torch.where(out, 0, known)), x.size[dim], wraps=False)
    return chosen, low.constant(~out) if out.any() else None, dim


def _count(low: Lowering, expr: Expr, counted: Ref | None, size: tuple[int, ...], at: Affine) -> Expr:
    """An expression, 0 for a row that is ignored."""
    return expr if counted is None else low.e.where(low.read(counted.value, at, size, "b"), expr, low.e.const(0.0))


def _weight(low: Lowering, args: dict[str, Any], chosen: Expr, size: tuple[int, ...]) -> Expr:
    """The weight of each row's class."""
    return low.e.const(1.0) if args["weight"] is None else low.load_at(args["weight"], [chosen], size)


def nll_loss(low: Lowering, node: Node) -> None:
    """−w·x at the row's class (their sum, or mean weighted by w), and Σ w"""
    e, args = low.e, arguments_of(node)
    x = args["self"]
    target, counted, dim = _classes(low, args)
    size, lead = target.size, len(target.size)
    at = Affine(0, target.stride)
    chosen = low.read(target.value, at, size, "i")
    rest = iter(e.index(axis(lead, d)) for d in range(lead))
    loads = low.load_at(x, [chosen if d == dim else next(rest) for d in range(len(x.size))], size)
    weight = _weight(low, args, chosen, size)
    loss = _count(low, e.neg(e.mul(weight, loads)), counted, size, at)
    out, total = low.output(node, 0), low.output(node, 1)
    if args["reduction"] == NONE:
        low.define(out, loss)
        low.define(total, e.const(0.0))
        return
    low.reduce(total, "sum", size, range(lead), _count(low, weight, counted, size, at))
    summed = low.new(())
    low.reduce(summed, "sum", size, range(lead), loss)
    value = low.load(summed)
    low.define(out, value if args["reduction"] == SUM else e.div(value, low.load(total)))


def nll_loss_backward(low: Lowering, node: Node) -> None:
    """−w·∂ at the row's class, 0 elsewhere"""
    e, args, size = low.e, arguments_of(node), low.size(node)
    target, counted, dim = _classes(low, args)
    grad, rank = args["grad_output"], len(size)

    def along_rows(ref: Ref) -> Affine:
        strides = iter(ref.stride)
        return Affine(ref.offset, tuple(0 if d == dim else next(strides) for d in range(rank)))

    rows = Affine(0, (0,)) if rank == 1 else along_rows(target)
    chosen = low.read(target.value, rows, size, "i")
    single = args["reduction"] != NONE or rank == 1
    slope = low.load(grad, size) if single else low.read(grad.value, along_rows(grad), size, "f")
    if args["reduction"] == MEAN:
        slope = e.div(slope, low.load(args["total_weight"], size))
    value = _count(low, e.neg(e.mul(_weight(low, args, chosen, size), slope)), counted, size, rows)
    low.finish(node, e.where(e.eq(chosen, e.index(axis(rank, dim))), value, e.const(0.0)))


TABLE: Table = {
    "aten.smooth_l1_loss_backward": pairwise_backward(_smooth_slope, "beta"),
    "aten.soft_margin_loss": pairwise(_margin),
    "aten.soft_margin_loss_backward": pairwise_backward(_margin_slope),
    "aten.binary_cross_entropy": binary_cross_entropy,
    "aten.binary_cross_entropy_backward": binary_cross_entropy_backward,
    "aten.binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "aten.nll_loss_forward": nll_loss,
    "aten.nll_loss_backward": nll_loss_backward,
    "aten.nll_loss2d_forward": nll_loss,
    "aten.nll_loss2d_backward": nll_loss_backward,
}
