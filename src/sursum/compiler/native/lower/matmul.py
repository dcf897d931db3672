"""Matrix products: loops where they are small, BLAS where they are large."""

from __future__ import annotations

from typing import Any

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.lower import triangle
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.definitions import kind_of
from sursum.compiler.native.lower.table import Table, number
from sursum.compiler.native.machine import BLAS_PRODUCT, REGISTER_PRODUCT

#: Rows and columns of the smallest product of `su_product`.
_BLOCK = 4, 8


def _read(low: Lowering, ref: Ref, dims: tuple[int | None, ...], size: tuple[int, ...]) -> Expr:
    """`ref`, whose dimension d runs with loop variable `dims[d]`."""
    coefs = [0] * len(size)
    for stride, n, d in zip(ref.stride, ref.size, dims, strict=True):
        if d is not None and n != 1:
            coefs[d] = stride
    return low.read(ref.value, Affine(ref.offset, tuple(coefs)), size, kind_of(ref.dtype))


def product(low: Lowering, a: Ref, b: Ref, out: Ref) -> None:
    """out = a·b, vectors and (batches of) matrices."""
    e = low.e
    if triangle.times(low, a, b, out):
        return
    if len(a.size) == 1 and len(b.size) == 1:  # dot
        low.reduce(out, "sum", a.size, (0,), e.mul(low.load(a), low.load(b)))
        return
    if len(b.size) == 1:  # mv
        m, k = a.size
        low.reduce(out, "sum", (m, k), (1,), e.mul(low.load(a), _read(low, b, (1,), (m, k))))
        return
    batch = a.size[:-2]
    (m, k), n = a.size[-2:], b.size[-1]
    if not batch and m * n * k >= BLAS_PRODUCT and min(m, n, k) > 1 and kind_of(out.dtype) == "f":
        if m * n * k <= REGISTER_PRODUCT and m >= _BLOCK[0] and n >= _BLOCK[1]:
            _by_registers(low, a, b, out)
        else:
            _gemm(low, a, b, out)
        return
    r = len(batch)
    size = (*batch, m, k, n)
    lead = tuple(range(r))
    left = _read(low, a, (*lead, r, r + 1), size)
    right = _read(low, b, (*lead, r + 1, r + 2), size)
    low.reduce(out, "sum", size, (r + 1,), e.mul(left, right))


def _flat(ref: Ref) -> tuple[str, int] | None:
    """How dgemm reads a matrix, ("T" for row-major, "N" for column-major), and its leading dimension."""
    (m, n), (s, t) = ref.size, ref.stride
    if t == 1 and s >= n:
        return "T", s
    if s == 1 and t >= m:
        return "N", t
    return None


def _by_registers(low: Lowering, a: Ref, b: Ref, out: Ref) -> None:
    """out = a·b by a function of ours"""
    row = out if out.stride == (out.size[1], 1) else low.new(out.size)
    room = [low.new(b.size)] if b.stride[1] != 1 else []
    (m, k), n = a.size, b.size[1]
    low.call(row, "su_product", m, n, k, a, *a.stride, b, *b.stride, row, room[0] if room else 0, also=room)
    if row is not out:
        low.define(out, low.load(row))


def _gemm(low: Lowering, a: Ref, b: Ref, out: Ref) -> None:
    """out = a·b by dgemm, as its transpose in column-major order"""
    if _flat(a) is None:
        a = low.temporary(a.size, low.load(a))
    if _flat(b) is None:
        b = low.temporary(b.size, low.load(b))
    a_form, b_form = _flat(a), _flat(b)
    assert a_form is not None
    assert b_form is not None
    row = out if out.stride == (out.size[1], 1) else low.new(out.size)
    turn = {"T": "N", "N": "T"}  # of the transposes
    (m, k), n = a.size, b.size[1]
    low.call(
        row, "su_gemm", low.blas("dgemm"), low.blas("threads"), f"'{turn[b_form[0]]}'", f"'{turn[a_form[0]]}'", n, m, k, 1.0,
        b, b_form[1], a, a_form[1], 0.0, row, n,
    )  # fmt: skip
    if row is not out:
        low.define(out, low.load(row))


def matmul(low: Lowering, node: Node) -> None:
    """`mm(a, b)`, `bmm`, `mv`, `dot`, `matmul` of equal ranks"""
    product(low, node.args[0], node.args[1], low.output(node))


def add_product(low: Lowering, node: Node) -> None:
    """`addmm(c, a, b, beta=1, alpha=1)`: β·c + α·a·b; so `addmv`, `baddbmm`"""
    e = low.e
    c, a, b = node.args[:3]
    beta, alpha = node.kwargs.get("beta", 1), node.kwargs.get("alpha", 1)
    out = low.output(node)
    total = low.new(out.size)
    product(low, a, b, total)
    expr: Any = low.load(total)
    if alpha != 1:
        expr = e.mul(expr, number(e, alpha))
    if beta != 0:
        old = low.load(c, out.size)
        expr = e.add(old if beta == 1 else e.mul(old, number(e, beta)), expr)
    low.define(out, expr)


def outer(low: Lowering, node: Node) -> None:
    """`addr(c, a, b, beta=1, alpha=1)`: β·c + α·a bᵀ"""
    e = low.e
    c, a, b = node.args[:3]
    beta, alpha = node.kwargs.get("beta", 1), node.kwargs.get("alpha", 1)
    size = low.size(node)
    expr = e.mul(_read(low, a, (0,), size), _read(low, b, (1,), size))
    if alpha != 1:
        expr = e.mul(expr, number(e, alpha))
    if beta != 0:
        old = low.load(c, size)
        expr = e.add(old if beta == 1 else e.mul(old, number(e, beta)), expr)
    low.finish(node, expr)


TABLE: Table = {
    "aten.mm": matmul,
    "aten.bmm": matmul,
    "aten.mv": matmul,
    "aten.dot": matmul,
    "aten.vdot": matmul,
    "aten.addmm": add_product,
    "aten.addmv": add_product,
    "aten.baddbmm": add_product,
    "aten.addr": outer,
}
