"""Sums, products, extremes and truth over dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Lower, Table


def dims_of(ref: Ref, dims: Any) -> tuple[int, ...]:
    """Dimensions to reduce, counted from the front: all for None and for an empty list."""
    rank = len(ref.size)
    if dims is None or (isinstance(dims, Sequence) and not dims):
        return tuple(range(rank))
    chosen = [dims] if isinstance(dims, int) else list(dims)
    return tuple(sorted({d % rank for d in chosen})) if rank else ()


def keep_dims(size: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """A size with 1 in the place of each of `dims`."""
    return tuple(1 if d in dims else n for d, n in enumerate(size))


def broadcast(*sizes: Sequence[int]) -> tuple[int, ...]:
    """The size to which sizes broadcast.

    Example:
        >>> broadcast((3, 1), (4,), ())
        (3, 4)
    """
    rank = max(map(len, sizes), default=0)
    result = [1] * rank
    for size in sizes:
        for d, n in enumerate(size, rank - len(size)):
            if n != 1:
                result[d] = n
    return tuple(result)


def axis(ndim: int, dim: int) -> Affine:
    """Loop variable `dim` of `ndim`."""
    return Affine(0, tuple(int(d == dim) for d in range(ndim)))


def reduction(mode: str) -> Lower:
    """`op(x)`, `op(x, dim)`, `op(x, dims, keepdim)` for a reduction of one result."""

    def lower(low: Lowering, node: Node) -> None:
        x = node.args[0]
        dims = dims_of(x, node.args[1] if len(node.args) > 1 else None)
        expr = low.load(x)
        if mode in ("all", "any"):
            expr = low.e.cast(expr, "b")
        if mode in ("max", "min") and math.prod(x.size) == 0 < math.prod(low.size(node)):
            low.fail("an extreme of nothing")
        low.reduce(low.output(node), mode, x.size, dims, expr)

    return lower


def mean(low: Lowering, node: Node) -> None:
    """The mean over dimensions."""
    x = node.args[0]
    dims = dims_of(x, node.args[1] if len(node.args) > 1 else None)
    total = low.new(keep_dims(x.size, dims))
    low.reduce(total, "sum", x.size, dims, low.load(x))
    count = math.prod(x.size[d] for d in dims)
    out = low.output(node)
    if count == 0:
        low.define(out, low.e.const(float("nan")))
        return
    low.define(out, low.e.div(_squeeze(low, total, dims, out), low.e.const(count)))


def _squeeze(low: Lowering, ref: Ref, dims: Sequence[int], out: Ref) -> Expr:
    """`ref`, which has 1 for each of `dims`, over the size of `out`, which may have dropped them."""
    if len(out.size) == len(ref.size):
        return low.load(ref)
    keep = [d for d in range(len(ref.size)) if d not in dims]
    size, stride = tuple(ref.size[d] for d in keep), tuple(ref.stride[d] for d in keep)
    return low.load(Ref(ref.value, size, stride, ref.offset, ref.dtype))


def extreme(mode: str) -> Lower:
    """`max(x, dim)` and `min(x, dim)`: the value and where it stands first."""

    def lower(low: Lowering, node: Node) -> None:
        x, dim = node.args[0], node.args[1]
        _extreme(low, x, dims_of(x, dim), mode, low.output(node, 0), low.output(node, 1))

    return lower


def _extreme(low: Lowering, x: Ref, dims: tuple[int, ...], mode: str, values: Ref, places: Ref) -> None:
    e = low.e
    expr = low.load(x)
    if not dims:
        low.define(values, expr)
        low.define(places, e.const(0, "i"))
        return
    low.reduce(values, mode, x.size, dims, expr)
    top = _spread(low, values, dims, x.size)
    hit = e.any_of(e.eq(expr, top), e.isnan(expr))
    index = e.index(axis(len(x.size), dims[0]))
    low.reduce(places, "min", x.size, dims, e.where(hit, index, e.const(x.size[dims[0]] - 1, "i")))


def _spread(low: Lowering, ref: Ref, dims: Sequence[int], size: Sequence[int]) -> Expr:
    """A reduced tensor, with or without its dimensions kept, over the full size."""
    if len(ref.size) == len(size):
        return low.load(ref, size)
    strides = list(ref.stride)
    full = [0 if d in dims else strides.pop(0) for d in range(len(size))]
    shape = keep_dims(size, dims)
    return low.load(Ref(ref.value, shape, tuple(full), ref.offset, ref.dtype), size)


def arg_extreme(mode: str) -> Lower:
    """`argmax(x, dim)` and `argmin(x, dim)`."""

    def lower(low: Lowering, node: Node) -> None:
        x = node.args[0]
        dim = node.args[1] if len(node.args) > 1 else None
        if dim is None:
            size = (math.prod(x.size),)
            flat = low.temporary(x.size, low.load(x))
            x = Ref(flat.value, size, (1,), 0, flat.dtype)
            dim = 0
        out = low.output(node)
        dims = dims_of(x, dim)
        dtype = torch.float64 if x.dtype.is_floating_point else torch.int64
        values = low.new(keep_dims(x.size, dims), dtype)
        _extreme(low, x, dims, mode, values, out)

    return lower


def norm(low: Lowering, node: Node) -> None:
    """(Σ |x|ᵖ)^(1/p), p = 1, 2, ∞, −∞ or another"""
    e = low.e
    args = arguments_of(node)
    x, order = args["self"], args["ord"]
    dims = dims_of(x, args["dim"])
    size = e.call("fabs", low.load(x))
    out = low.output(node)
    if math.isinf(order):
        low.reduce(out, "max" if order > 0 else "min", x.size, dims, size)
        return
    if order == 0:
        low.reduce(out, "sum", x.size, dims, e.double(e.ne(size, e.const(0.0))))
        return
    if math.prod(x.size[d] for d in dims) == 1:  # of one number: no power of it may underflow
        low.reduce(out, "max", x.size, dims, size)
        return
    total = low.new(keep_dims(x.size, dims))
    low.reduce(total, "sum", x.size, dims, e.pow(size, e.const(order)))
    low.define(out, e.pow(_squeeze(low, total, dims, out), e.const(1 / order)))


def _moments(low: Lowering, node: Node) -> tuple[Ref, Ref, tuple[int, ...]]:
    x = node.args[0]
    e = low.e
    dims = dims_of(x, node.args[1] if len(node.args) > 1 else None)
    correction = node.kwargs.get("correction", 1)
    if node.args[2:] and isinstance(node.args[2], bool):
        low.fail("variance with `unbiased`")
    count = math.prod(x.size[d] for d in dims)
    total = low.new(keep_dims(x.size, dims))
    low.reduce(total, "sum", x.size, dims, low.load(x))
    average = low.temporary(total.size, e.div(low.load(total), e.const(count)))
    away = e.sub(low.load(x), low.load(average, x.size))
    squares = low.new(total.size)
    low.reduce(squares, "sum", x.size, dims, e.mul(away, away))
    freedom = max(count - (1 if correction is None else correction), 0)
    return average, low.temporary(total.size, e.div(low.load(squares), e.const(freedom))), dims


def deviation_mean(low: Lowering, node: Node) -> None:
    """The root of the variance, and the mean"""
    average, var, dims = _moments(low, node)
    for k, ref in enumerate((var, average)):
        out = low.output(node, k)
        value = _squeeze(low, ref, dims, out)
        low.define(out, value if k else low.e.call("sqrt", value))


def sum_of_numbers(low: Lowering, node: Node) -> None:
    """The sum of what is not NaN"""
    e, x = low.e, node.args[0]
    dims = dims_of(x, arguments_of(node)["dim"])
    value = low.load(x)
    low.reduce(low.output(node), "sum", x.size, dims, e.where(e.isnan(value), e.const(0, value.kind), value))


def count_nonzero(low: Lowering, node: Node) -> None:
    """How many are not 0"""
    e, x = low.e, node.args[0]
    dims = dims_of(x, arguments_of(node).get("dim"))
    value = low.load(x)
    low.reduce(low.output(node), "sum", x.size, dims, e.cast(e.ne(value, e.const(0, value.kind)), "i"))


def trace(low: Lowering, node: Node) -> None:
    """The sum of the diagonal of a matrix"""
    x = node.args[0]
    n = min(x.size)
    diagonal = Ref(x.value, (n,), (sum(x.stride),), x.offset, x.dtype)
    low.reduce(low.output(node), "sum", (n,), (0,), low.load(diagonal))


def variance(low: Lowering, node: Node) -> None:
    """Σ (x − mean)² / (n − correction)"""
    _, var, dims = _moments(low, node)
    out = low.output(node)
    low.define(out, _squeeze(low, var, dims, out))


def deviation(low: Lowering, node: Node) -> None:
    """The root of the variance"""
    _, var, dims = _moments(low, node)
    out = low.output(node)
    low.define(out, low.e.call("sqrt", _squeeze(low, var, dims, out)))


def variance_mean(low: Lowering, node: Node) -> None:
    """The variance and the mean"""
    average, var, dims = _moments(low, node)
    for k, ref in enumerate((var, average)):
        out = low.output(node, k)
        low.define(out, _squeeze(low, ref, dims, out))


TABLE: Table = {
    "aten.sum": reduction("sum"),
    "aten.prod": reduction("prod"),
    "aten.amax": reduction("max"),
    "aten.amin": reduction("min"),
    "aten.max.default": reduction("max"),
    "aten.min.default": reduction("min"),
    "aten.max.dim": extreme("max"),
    "aten.min.dim": extreme("min"),
    "aten.argmax": arg_extreme("max"),
    "aten.argmin": arg_extreme("min"),
    "aten.all": reduction("all"),
    "aten.any": reduction("any"),
    "aten._is_all_true": reduction("all"),
    "aten._is_any_true": reduction("any"),
    "aten.mean": mean,
    "aten.linalg_vector_norm": norm,
    "aten.var.correction": variance,
    "aten.std.correction": deviation,
    "aten.var_mean.correction": variance_mean,
    "aten.std_mean.correction": deviation_mean,
    "aten.nansum": sum_of_numbers,
    "aten.count_nonzero": count_nonzero,
    "aten.trace": trace,
}
