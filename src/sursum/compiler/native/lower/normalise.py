"""Layer, group, batch and weight norm, and their backward operators."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.reduction import keep_dims
from sursum.compiler.native.lower.table import Table


def reshape(low: Lowering, ref: Ref, size: Sequence[int]) -> Ref:
    """The same elements, in row-major order, in another shape."""
    if ref.stride != contiguous(ref.size):
        ref = low.temporary(ref.size, low.load(ref))
    return Ref(ref.value, tuple(size), contiguous(size), ref.offset, ref.dtype)


def _standard(low: Lowering, x: Ref, dims: Sequence[int], eps: float) -> tuple[Ref, Ref]:
    """The mean of x over `dims`, and 1 / √(variance + ε)."""
    e, size = low.e, keep_dims(x.size, dims)
    count = e.const(math.prod(x.size[d] for d in dims))
    total, squares = low.new(size), low.new(size)
    low.reduce(total, "sum", x.size, dims, low.load(x))
    mean = low.temporary(size, e.div(low.load(total), count))
    away = e.sub(low.load(x), low.load(mean, x.size))
    low.reduce(squares, "sum", x.size, dims, e.mul(away, away))
    variance = e.div(low.load(squares), count)
    return mean, low.temporary(size, e.div(e.const(1.0), e.call("sqrt", e.add(variance, e.const(eps)))))


def _slope(low: Lowering, x: Ref, grad: Expr, mean: Expr, rate: Expr, dims: Sequence[int]) -> Expr:
    """The gradient by x of (x − mean(x))·rate(x), weighted by `grad`: r·(∂ − mean ∂ − z·mean ∂z), z = (x − mean)·r"""
    e, size = low.e, keep_dims(x.size, dims)
    count = e.const(math.prod(x.size[d] for d in dims))
    z = e.mul(e.sub(low.load(x), mean), rate)
    plain, along = low.new(size), low.new(size)
    low.reduce(plain, "sum", x.size, dims, grad)
    low.reduce(along, "sum", x.size, dims, e.mul(grad, z))
    centred = e.sub(grad, e.div(low.load(plain, x.size), count))
    return e.mul(rate, e.sub(centred, e.mul(z, e.div(low.load(along, x.size), count))))


def _sum_into(low: Lowering, node: Node, k: int, size: Sequence[int], keep: Sequence[int], expr: Expr) -> None:
    """Result k, if it is wanted: a sum over all dimensions but `keep`."""
    out = node.outputs[k]
    if out is not None and 0 not in out.size:
        dims = [d for d in range(len(size)) if d not in keep]
        total = low.new([size[d] for d in keep])
        low.reduce(total, "sum", size, dims, expr)
        low.define(out, low.load(reshape(low, total, out.size)))


def layer_norm(low: Lowering, node: Node) -> None:
    """`native_layer_norm(x, shape, w, b, ε)`: (x − mean)·rate·w + b, the mean, the rate"""
    e, (x, shape, weight, bias, eps) = low.e, node.args
    dims = range(len(x.size) - len(shape), len(x.size))
    mean, rate = _standard(low, x, dims, eps)
    value = e.mul(e.sub(low.load(x), low.load(mean, x.size)), low.load(rate, x.size))
    value = _scale(low, value, weight, bias, x.size)
    low.define(low.output(node, 0), value)
    for k, ref in ((1, mean), (2, rate)):
        out = low.output(node, k)
        low.define(out, low.load(reshape(low, ref, out.size)))


def _scale(low: Lowering, value: Expr, weight: Ref | None, bias: Ref | None, size: Sequence[int]) -> Expr:
    if weight is not None:
        value = low.e.mul(value, low.load(weight, size))
    return value if bias is None else low.e.add(value, low.load(bias, size))


def layer_norm_backward(low: Lowering, node: Node) -> None:
    """The gradients of layer norm by x, w and b"""
    e, (grad_ref, x, shape, mean_ref, rate_ref, weight) = low.e, node.args[:6]
    first = len(x.size) - len(shape)
    dims = range(first, len(x.size))
    grad = low.load(grad_ref, x.size)
    mean, rate = low.load(mean_ref, x.size), low.load(rate_ref, x.size)
    if node.outputs[0] is not None:
        weighted = grad if weight is None else e.mul(grad, low.load(weight, x.size))
        low.define(low.output(node, 0), _slope(low, x, weighted, mean, rate, dims))
    z = e.mul(e.sub(low.load(x), mean), rate)
    _sum_into(low, node, 1, x.size, dims, e.mul(grad, z))
    _sum_into(low, node, 2, x.size, dims, grad)


def _channels(ref: Ref | None, groups: int = 1) -> Ref | None:
    """A vector with an element for each channel, as (1, groups, channels in one, 1): to be broadcast."""
    if ref is None:
        return None
    (n,), (s,) = ref.size, ref.stride
    inside = n // groups
    return Ref(ref.value, (1, groups, inside, 1), (0, inside * s, s, 0), ref.offset, ref.dtype)


def group_norm(low: Lowering, node: Node) -> None:
    """`native_group_norm(x, w, b, N, C, HxW, G, ε)`: each group of channels normalised, the means, the rates"""
    e, (x_ref, weight, bias, n, channels, rest, groups, eps) = low.e, node.args
    x = reshape(low, x_ref, (n, groups, channels // groups, rest))
    mean, rate = _standard(low, x, (2, 3), eps)
    value = e.mul(e.sub(low.load(x), low.load(mean, x.size)), low.load(rate, x.size))
    value = _scale(low, value, _channels(weight, groups), _channels(bias, groups), x.size)
    out = low.output(node)
    low.define(out, low.load(reshape(low, low.temporary(x.size, value), out.size)))
    for k, ref in ((1, mean), (2, rate)):
        low.define(low.output(node, k), low.load(reshape(low, ref, (n, groups))))


def group_norm_backward(low: Lowering, node: Node) -> None:
    """The gradients of group norm by x, w and b"""
    e, (grad_ref, x_ref, mean_ref, rate_ref, weight, n, channels, rest, groups) = low.e, node.args[:9]
    size = (n, groups, channels // groups, rest)
    x, grad = reshape(low, x_ref, size), low.load(reshape(low, grad_ref, size))
    mean, rate = (low.load(reshape(low, ref, (n, groups, 1, 1)), size) for ref in (mean_ref, rate_ref))
    scale = _channels(weight, groups)
    if node.outputs[0] is not None:
        weighted = grad if scale is None else e.mul(grad, low.load(scale, size))
        slope = low.temporary(size, _slope(low, x, weighted, mean, rate, (2, 3)))
        out = low.output(node, 0)
        low.define(out, low.load(reshape(low, slope, out.size)))
    z = e.mul(e.sub(low.load(x), mean), rate)
    _sum_into(low, node, 1, size, (1, 2), e.mul(grad, z))
    _sum_into(low, node, 2, size, (1, 2), grad)


def _across(ref: Ref, rank: int) -> Ref:
    """A vector along dimension 1 of `rank`."""
    size, stride = [1] * rank, [0] * rank
    size[1], stride[1] = ref.size[0], ref.stride[0]
    return Ref(ref.value, tuple(size), tuple(stride), ref.offset, ref.dtype)


def _population(low: Lowering, mean: Ref, variance: Ref, rank: int, eps: float) -> tuple[Ref, Ref]:
    """Running statistics as a mean and a rate along dimension 1."""
    e = low.e
    rate = e.div(e.const(1.0), e.call("sqrt", e.add(low.load(variance), e.const(eps))))
    return _across(mean, rank), _across(low.temporary(variance.size, rate), rank)


def batch_norm(low: Lowering, node: Node) -> None:
    """`native_batch_norm(x, w, b, mean, variance, training, momentum, ε)`; the statistics of the batch in training"""
    e, (x, weight, bias, mean_ref, variance_ref, training, _, eps) = low.e, node.args
    rank = len(x.size)
    if training:
        mean, rate = _standard(low, x, [d for d in range(rank) if d != 1], eps)
        for k, ref in ((1, mean), (2, rate)):
            out = low.output(node, k)
            low.define(out, low.load(reshape(low, ref, out.size)))
    else:
        mean, rate = _population(low, mean_ref, variance_ref, rank, eps)
        for k in (1, 2):
            if node.outputs[k] is not None:
                low.define(low.output(node, k), e.const(0.0))
    slope: Expr = low.load(rate)
    if weight is not None:
        slope = e.mul(slope, low.load(_across(weight, rank), rate.size))
    start = e.neg(e.mul(low.load(mean), slope))
    if bias is not None:
        start = e.add(low.load(_across(bias, rank), rate.size), start)
    slopes, starts = low.temporary(rate.size, slope), low.temporary(rate.size, start)
    low.define(low.output(node, 0), e.add(e.mul(low.load(x), low.load(slopes, x.size)), low.load(starts, x.size)))


def batch_norm_backward(low: Lowering, node: Node) -> None:
    """The gradients of batch norm by x, w and b"""
    e, (grad_ref, x, weight, mean_ref, variance_ref, saved_mean, saved_rate, training, eps) = low.e, node.args[:9]
    rank = len(x.size)
    if training:
        means = (_across(saved_mean, rank), _across(saved_rate, rank))
    else:
        means = _population(low, mean_ref, variance_ref, rank, eps)
    grad, (mean, rate) = low.load(grad_ref, x.size), (low.load(ref, x.size) for ref in means)
    if node.outputs[0] is not None:
        weighted = grad if weight is None else e.mul(grad, low.load(_across(weight, rank), x.size))
        others = [d for d in range(rank) if d != 1]
        slope = _slope(low, x, weighted, mean, rate, others) if training else e.mul(weighted, rate)
        low.define(low.output(node, 0), slope)
    _sum_into(low, node, 1, x.size, (1,), e.mul(grad, e.mul(e.sub(low.load(x), mean), rate)))
    _sum_into(low, node, 2, x.size, (1,), grad)


def weight_norm(low: Lowering, node: Node) -> None:
    """`_weight_norm_interface(v, g, dim)`: v·g/‖v‖ with a norm for each index of `dim`, and the norms"""
    e, v, g = low.e, node.args[0], node.args[1]
    dim = node.args[2] if len(node.args) > 2 else 0
    dims = [d for d in range(len(v.size)) if d != dim % len(v.size)]
    squares = low.new(keep_dims(v.size, dims))
    low.reduce(squares, "sum", v.size, dims, e.mul(low.load(v), low.load(v)))
    norms = low.output(node, 1)
    low.define(norms, e.call("sqrt", low.load(reshape(low, squares, norms.size))))
    rate = low.temporary(g.size, e.div(low.load(g), low.load(norms, g.size)))
    low.define(low.output(node, 0), e.mul(low.load(v), low.load(rate, v.size)))


def weight_norm_backward(low: Lowering, node: Node) -> None:
    """(g/‖v‖)·(∂ − v·Σ∂v/‖v‖²) by v, Σ∂v/‖v‖ by g"""
    e, (grad_ref, v_ref, g, norms, dim) = low.e, node.args
    dims = [d for d in range(len(v_ref.size)) if d != dim % len(v_ref.size)]
    grad, v = low.load(grad_ref), low.load(v_ref)
    along = low.new(keep_dims(v_ref.size, dims))
    low.reduce(along, "sum", v_ref.size, dims, e.mul(grad, v))
    norm, dot = low.load(norms, v_ref.size), low.load(along, v_ref.size)
    slope = e.mul(e.div(low.load(g, v_ref.size), norm), e.sub(grad, e.mul(v, e.div(dot, e.mul(norm, norm)))))
    low.define(low.output(node, 0), slope)
    out = low.output(node, 1)
    low.define(out, e.div(low.load(reshape(low, along, out.size)), low.load(norms, out.size)))


TABLE: Table = {
    "aten.native_layer_norm": layer_norm,
    "aten.native_layer_norm_backward": layer_norm_backward,
    "aten.native_group_norm": group_norm,
    "aten.native_group_norm_backward": group_norm_backward,
    "aten.native_batch_norm": batch_norm,
    "aten.native_batch_norm_backward": batch_norm_backward,
    "aten._weight_norm_interface": weight_norm,
    "aten._weight_norm_interface_backward": weight_norm_backward,
}
