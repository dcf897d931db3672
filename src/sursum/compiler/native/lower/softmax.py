"""Logarithms of sums of exponentials, softmax and their backward operators."""

from __future__ import annotations

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.reduction import _squeeze, dims_of, keep_dims
from sursum.compiler.native.lower.table import Table


def logsumexp(low: Lowering, node: Node) -> None:
    """m + log Σ exp(x − m), m the largest x, or 0 where that is infinite"""
    e = low.e
    x = node.args[0]
    dims = dims_of(x, node.args[1])
    out = low.output(node)
    size = keep_dims(x.size, dims)
    highest = low.new(size)
    low.reduce(highest, "max", x.size, dims, low.load(x))
    m = low.load(highest)
    finite = low.temporary(size, e.where(e.eq(e.call("fabs", m), e.const(float("inf"))), e.const(0.0), m))
    total = low.new(size)
    low.reduce(total, "sum", x.size, dims, e.call("exp", e.sub(low.load(x), low.load(finite, x.size))))
    low.define(out, e.add(e.call("log", _squeeze(low, total, dims, out)), _squeeze(low, finite, dims, out)))


def softmax_parts(low: Lowering, x: Ref, dim: int) -> tuple[Ref, Ref, tuple[int, ...]]:
    """The largest of each row, and the sum of the exponentials above it."""
    e = low.e
    dims = dims_of(x, dim)
    size = keep_dims(x.size, dims)
    highest, total = low.new(size), low.new(size)
    low.reduce(highest, "max", x.size, dims, low.load(x))
    low.reduce(total, "sum", x.size, dims, e.call("exp", e.sub(low.load(x), low.load(highest, x.size))))
    return highest, total, dims


def softmax(low: Lowering, node: Node) -> None:
    """exp(x − m) / Σ exp(x − m)"""
    e = low.e
    x, dim = node.args[0], node.args[1]
    highest, total, _ = softmax_parts(low, x, dim)
    top = e.call("exp", e.sub(low.load(x), low.load(highest, x.size)))
    low.finish(node, e.div(top, low.load(total, x.size)))


def log_softmax(low: Lowering, node: Node) -> None:
    """x − m − log Σ exp(x − m)"""
    e = low.e
    x, dim = node.args[0], node.args[1]
    highest, total, _ = softmax_parts(low, x, dim)
    logs = low.temporary(total.size, e.call("log", low.load(total)))
    low.finish(node, e.sub(e.sub(low.load(x), low.load(highest, x.size)), low.load(logs, x.size)))


def softmax_backward(low: Lowering, node: Node) -> None:
    """(∂ − Σ ∂·y)·y"""
    e = low.e
    grad, y, dim = node.args[0], node.args[1], node.args[2]
    dims = dims_of(y, dim)
    total = low.new(keep_dims(y.size, dims))
    low.reduce(total, "sum", y.size, dims, e.mul(low.load(grad), low.load(y)))
    low.finish(node, e.mul(e.sub(low.load(grad), low.load(total, y.size)), low.load(y)))


def log_softmax_backward(low: Lowering, node: Node) -> None:
    """∂ − exp(y)·Σ ∂"""
    e = low.e
    grad, y, dim = node.args[0], node.args[1], node.args[2]
    dims = dims_of(y, dim)
    total = low.new(keep_dims(y.size, dims))
    low.reduce(total, "sum", y.size, dims, low.load(grad))
    low.finish(node, e.sub(low.load(grad), e.mul(e.call("exp", low.load(y)), low.load(total, y.size))))


TABLE: Table = {
    "aten.logsumexp": logsumexp,
    "aten._softmax": softmax,
    "aten._log_softmax": log_softmax,
    "aten._softmax_backward_data": softmax_backward,
    "aten._log_softmax_backward_data": log_softmax_backward,
}
