"""Cholesky factors, triangular systems and what is made of them."""

from __future__ import annotations

import math
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.graph.patterns import NodeTerms, transposed
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.factor import FACTOR
from sursum.compiler.native.lower.matrices import expand
from sursum.compiler.native.lower.reduction import axis, broadcast
from sursum.compiler.native.lower.table import Table
from sursum.compiler.native.machine import LAPACK_ROWS
from sursum.compiler.rules import apply_first


def cholesky(low: Lowering, node: Node) -> None:
    """`linalg_cholesky_ex(A, upper)`: the factor, and for each matrix 0 or the place where it fails"""
    a = node.args[0]
    upper = node.kwargs.get("upper", node.args[1] if len(node.args) > 1 else False)
    factor, info = low.output(node, 0), low.output(node, 1)
    n, batch = a.size[-1], math.prod(a.size[:-2])
    # The factor of the transpose of an upper triangle: only the lower one of the source is read.
    source = transposed(a) if upper else a
    full = low.new(factor.size)
    codes = low.new(info.size, torch.int64)
    dense = low.dense(source)
    if n == 0 or batch == 0:
        low.define(factor, low.e.const(0.0))
        low.define(info, low.e.const(0, "i"))
        return
    if n >= LAPACK_ROWS:
        low.call(full, "su_cholesky_lapack", low.blas("dpotrf"), batch, n, dense, full, codes, also=(codes,))
    else:
        low.call(full, "su_cholesky", batch, n, dense, full, codes, also=(codes,))
    low.define(factor, low.load(transposed(full) if upper else full))
    low.define(info, low.load(codes))


def solve(low: Lowering, a: Ref, b: Ref, upper: bool, unit: bool) -> Ref:
    """The X of A X = B, A a triangle; a tensor of our own, contiguous, of the broadcast batch."""
    batch = broadcast(a.size[:-2], b.size[:-2])
    n, m = b.size[-2:]
    out = low.new((*batch, n, m))
    count = math.prod(batch)
    if count * n * m == 0:
        low.define(out, low.e.const(0.0))
        return out
    a = low.resolve(a)
    matrix, step = (a, 0) if math.prod(a.size[:-2]) == 1 else (expand(a, batch), n * n)
    # A row-major triangle is the transpose of a column-major one: only its strides tell them apart.
    turned = _strides(matrix) == (1, n) and n > 1
    if turned:
        # The memory, read row by row, is the transpose.
        source = transposed(matrix)
        dense = low.dense(source)
    else:
        dense = low.dense(matrix)
    if n >= LAPACK_ROWS:
        low.call(
            out, "su_solve_blas", low.blas("dtrsm"), count, n, m, dense, step, int(turned), int(upper), int(unit), out,
            base=expand(b, batch),
        )  # fmt: skip
    else:
        low.call(out, "su_solve", count, n, m, dense, step, int(turned), int(upper), int(unit), out, base=expand(b, batch))
    return out


def _strides(ref: Ref) -> tuple[int, int]:
    return ref.stride[-2], ref.stride[-1]


def solve_triangular(low: Lowering, node: Node) -> None:
    """`linalg_solve_triangular(A, B, upper, left=True, unitriangular=False)`: A X = B, or X A = B"""
    a, b = node.args[0], node.args[1]
    upper = bool(node.kwargs["upper"])
    left, unit = node.kwargs.get("left", True), bool(node.kwargs.get("unitriangular", False))
    out = low.output(node)
    gradient = apply_first(FACTOR, low, out, NodeTerms(low.makers)) if out.size == a.size else None
    if gradient is not None:
        low.define(out, low.load(gradient))
        return
    found = solve(low, a, b, upper, unit) if left else transposed(solve(low, transposed(a), transposed(b), not upper, unit))
    low.define(out, low.load(found, out.size))


def triangular_solve(low: Lowering, node: Node) -> None:
    """`triangular_solve(B, A, upper=True, transpose=False, unitriangular=False)`: the X, and A"""
    b, a = node.args[0], node.args[1]
    defaults: tuple[Any, ...] = (True, False, False)
    upper, transpose, unit = (*node.args[2:], *defaults[len(node.args) - 2 :])
    found = solve(low, transposed(a) if transpose else a, b, upper != transpose, unit)
    low.define(low.output(node, 0), low.load(found))
    if node.outputs[1] is not None:
        low.define(node.outputs[1], low.load(a, node.outputs[1].size))


def cholesky_solve(low: Lowering, node: Node) -> None:
    """`cholesky_solve(B, L, upper=False)`: the X of L Lᵀ X = B"""
    b, factor = node.args[0], node.args[1]
    if len(node.args) > 2 and node.args[2]:
        factor = transposed(factor)
    first = solve(low, factor, b, False, False)
    second = solve(low, transposed(factor), first, True, False)
    out = low.output(node)
    low.define(out, low.load(second, out.size))


def cholesky_inverse(low: Lowering, node: Node) -> None:
    """`cholesky_inverse(L, upper=False)`: (L Lᵀ)⁻¹"""
    factor = node.args[0]
    if len(node.args) > 1 and node.args[1]:
        factor = transposed(factor)
    e, rank = low.e, len(factor.size)
    one = e.eq(e.index(axis(rank, rank - 2)), e.index(axis(rank, rank - 1)))
    unit = low.temporary(factor.size, e.double(one))
    first = solve(low, factor, unit, False, False)
    second = solve(low, transposed(factor), first, True, False)
    out = low.output(node)
    low.define(out, low.load(second, out.size))


TABLE: Table = {
    "aten.linalg_cholesky_ex": cholesky,
    "aten.linalg_solve_triangular": solve_triangular,
    "aten.triangular_solve": triangular_solve,
    "aten.cholesky_solve": cholesky_solve,
    "aten.cholesky_inverse": cholesky_inverse,
}
