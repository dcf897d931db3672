"""LU factors, and what is made of them: determinants, inverses, solutions of linear systems."""

from __future__ import annotations

import math

import torch

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.patterns import transposed
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.matrices import expand
from sursum.compiler.native.lower.reduction import axis, broadcast
from sursum.compiler.native.lower.table import Table


def factor(low: Lowering, a: Ref) -> tuple[Ref, Ref, Ref]:
    """P A = L U in one matrix, row-major; the row with which each changed places, from 1; 0 or the first zero pivot."""
    n, batch = a.size[-1], a.size[:-2]
    if a.size[-2] != n:
        low.fail("the LU factors of a matrix that is not square")
    packed, rows, codes = low.new(a.size), low.new((*batch, n), torch.int64), low.new(batch, torch.int64)
    if math.prod(a.size) == 0:
        for ref, kind in ((packed, "f"), (rows, "i"), (codes, "i")):
            low.define(ref, low.e.const(0, kind))
        return packed, rows, codes
    low.call(packed, "su_lu", math.prod(batch), n, low.dense(a), packed, rows, codes, also=(rows, codes))
    return packed, rows, codes


def solve(low: Lowering, packed: Ref, rows: Ref, b: Ref, *, adjoint: bool) -> Ref:
    """The X of A X = B, or of Aᵀ X = B, from the LU factors of A."""
    batch = broadcast(packed.size[:-2], b.size[:-2])
    n, m = b.size[-2:]
    out = low.new((*batch, n, m))
    count = math.prod(batch)
    if count * n * m == 0:
        low.define(out, low.e.const(0.0))
        return out
    single = math.prod(packed.size[:-2]) == 1
    matrices = low.dense(packed if single else expand(packed, batch))
    if not single:
        lead = (1,) * (len(batch) - len(rows.size) + 1)
        stride = (0,) * len(lead) + tuple(0 if k == 1 else s for k, s in zip(rows.size, rows.stride, strict=True))
        full = Ref(rows.value, (*lead, *rows.size), stride, rows.offset, rows.dtype)
        rows = low.temporary((*batch, n), low.load(full, (*batch, n)))
    low.call(
        out, "su_lu_solve", count, n, m, matrices, low.dense(rows), int(not single), int(adjoint), out, base=expand(b, batch)
    )
    return out


def _is_contiguous(a: Ref) -> bool:
    return all(n == 1 or s == t for n, s, t in zip(a.size, a.stride, contiguous(a.size), strict=True))


def _as_torch(low: Lowering, a: Ref) -> tuple[Ref, Ref, Ref]:
    """The factors that torch takes for a determinant: those of the transpose, where the matrix is row-major."""
    return factor(low, transposed(a) if _is_contiguous(a) else a)


def _diagonal(packed: Ref) -> Ref:
    size, step = packed.size[:-1], packed.stride[-1] + packed.stride[-2]
    return Ref(packed.value, size, (*packed.stride[:-2], step), packed.offset, packed.dtype)


def _sign(low: Lowering, rows: Ref) -> Ref:
    """−1 for an odd number of exchanges, else 1."""
    e, rank = low.e, len(rows.size)
    from_one = Affine(1, axis(rank, rank - 1).coefs)
    still = e.eq(low.load(rows), e.index(from_one))
    return _product(low, rows, e.where(still, e.const(1.0), e.const(-1.0)), "prod")


def _product(low: Lowering, ref: Ref, expr: Expr, mode: str) -> Ref:
    out = low.new(ref.size[:-1])
    low.reduce(out, mode, ref.size, (len(ref.size) - 1,), expr)
    return out


def _give(low: Lowering, node: Node, k: int, ref: Ref) -> None:
    out = node.outputs[k] if k < len(node.outputs) else None
    if out is not None:
        low.define(out, low.load(ref))


def determinant(low: Lowering, node: Node) -> None:
    """`_linalg_det(A)`: the determinant, and the factors that its gradient needs"""
    packed, rows, _ = _as_torch(low, node.args[0])
    diagonal = _diagonal(packed)
    total = _product(low, diagonal, low.load(diagonal), "prod")
    low.define(low.output(node, 0), low.e.mul(low.load(total), low.load(_sign(low, rows))))
    _give(low, node, 1, packed)
    _give(low, node, 2, rows)


def log_determinant(low: Lowering, node: Node) -> None:
    """`_linalg_slogdet(A)`: the sign of the determinant, log |det A|, and the factors"""
    e = low.e
    packed, rows, _ = _as_torch(low, node.args[0])
    diagonal = _diagonal(packed)
    x = low.load(diagonal)
    sign = e.sub(e.double(e.gt(x, e.const(0.0))), e.double(e.lt(x, e.const(0.0))))
    signs = _product(low, diagonal, sign, "prod")
    low.define(low.output(node, 0), e.mul(low.load(signs), low.load(_sign(low, rows))))
    logs = _product(low, diagonal, e.call("log", e.call("fabs", x)), "sum")
    low.define(low.output(node, 1), low.load(logs))
    _give(low, node, 2, packed)
    _give(low, node, 3, rows)


def _columns(a: Ref, b: Ref) -> tuple[Ref, bool]:
    """B as matrices: a vector (or a batch of vectors) as one column."""
    vector = len(b.size) == 1 or (len(a.size) - 1 == len(b.size) and b.size == a.size[:-1])
    return (Ref(b.value, (*b.size, 1), (*b.stride, 0), b.offset, b.dtype), True) if vector else (b, False)


def solve_ex(low: Lowering, node: Node) -> None:
    """`_linalg_solve_ex(A, B, left)`: X, the factors of A, 0 or the first zero pivot"""
    args = arguments_of(node)
    a, (b, vector) = args["A"], _columns(args["A"], args["B"])
    packed, rows, codes = factor(low, a)
    if args["left"]:
        found = solve(low, packed, rows, b, adjoint=False)
    else:
        found = transposed(solve(low, packed, rows, transposed(b), adjoint=True))
    if vector:
        found = Ref(found.value, found.size[:-1], found.stride[:-1], found.offset, found.dtype)
    for k, ref in enumerate((found, packed, rows, codes)):
        _give(low, node, k, ref)


def inverse(low: Lowering, node: Node) -> None:
    """`linalg_inv_ex(A)`: the inverse, and 0 or the first zero pivot"""
    e, a = low.e, node.args[0]
    packed, rows, codes = factor(low, a)
    rank = len(a.size)
    unit = low.temporary(a.size, e.double(e.eq(e.index(axis(rank, rank - 2)), e.index(axis(rank, rank - 1)))))
    _give(low, node, 0, solve(low, packed, rows, unit, adjoint=False))
    _give(low, node, 1, codes)


def factor_ex(low: Lowering, node: Node) -> None:
    """`linalg_lu_factor_ex(A)`: the factors in one matrix, the exchanges, 0 or the first zero pivot"""
    if not arguments_of(node)["pivot"]:
        low.fail("without exchanges")
    for k, ref in enumerate(factor(low, node.args[0])):
        _give(low, node, k, ref)


def lu_solve(low: Lowering, node: Node) -> None:
    """`linalg_lu_solve(LU, pivots, B, left, adjoint)`"""
    args = arguments_of(node)
    packed, rows, b = args["LU"], args["pivots"], args["B"]
    if args["left"]:
        found = solve(low, packed, rows, b, adjoint=args["adjoint"])
    else:  # X A = B is Aᵀ Xᵀ = Bᵀ
        found = transposed(solve(low, packed, rows, transposed(b), adjoint=not args["adjoint"]))
    low.define(low.output(node), low.load(found))


TABLE: Table = {
    "aten._linalg_det": determinant,
    "aten._linalg_slogdet": log_determinant,
    "aten._linalg_solve_ex": solve_ex,
    "aten.linalg_inv_ex": inverse,
    "aten.linalg_lu_factor_ex": factor_ex,
    "aten.linalg_lu_solve": lu_solve,
}
