"""Eigenvalues of symmetric matrices, singular values, and the vectors that go with them."""

from __future__ import annotations

import math

from sursum.compiler.graph.graph import Node, Ref, arguments_of
from sursum.compiler.graph.patterns import transposed
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.table import Table


def eigh(low: Lowering, node: Node) -> None:
    """`_linalg_eigh(A, UPLO)`: eigenvalues, ascending, and eigenvectors"""
    args = arguments_of(node)
    a = args["A"]
    n, count = a.size[-1], math.prod(a.size[:-2])
    if n * count == 0:
        low.fail("of nothing")
    values, vectors = low.new(a.size[:-1]), low.new(a.size)
    # LAPACK's workspace; the whole numbers lie in it as well.
    work = low.new((1 + 6 * n + 2 * n * n + 3 + 5 * n,))
    low.call(
        values, "su_eigh", low.blas("dsyevd"), low.blas("threads"), count, n, int(args["UPLO"].upper() == "U"), low.dense(a),
        values, vectors, work, also=(vectors, work),
    )  # fmt: skip
    _give(low, node, values, transposed(vectors))


def svd(low: Lowering, node: Node) -> None:
    """`_linalg_svd(A, full_matrices)`: U, the singular values, descending, and Vᵀ"""
    args = arguments_of(node)
    a, full = args["A"], args["full_matrices"]
    (m, n), batch = a.size[-2:], a.size[:-2]
    few, count = min(m, n), math.prod(batch)
    if few * count == 0 or args["driver"] is not None:
        low.fail("of nothing, or by a driver of one's own")
    u, s = low.new((*batch, m if full else few, m)), low.new((*batch, few))
    v, copy = low.new((*batch, n, n if full else few)), low.new((m, n))
    length = 4 * few * few + 7 * few + 65 * (m + n)  # what LAPACK asks for, and room for it to work by blocks
    work = low.new((length + 8 * few,))
    low.call(
        s, "su_svd", low.blas("dgesdd"), low.blas("threads"), count, m, n, int(full), low.dense(a), u, s, v, copy, work,
        length, also=(u, v, copy, work),
    )  # fmt: skip
    _give(low, node, transposed(u), s, transposed(v))


def _give(low: Lowering, node: Node, *found: Ref) -> None:
    """The results of a node, but for what it was not asked for."""
    for out, ref in zip(node.outputs, found, strict=True):
        if out is not None and out.size == ref.size:
            low.define(out, low.load(ref))
        elif out is not None:
            low.define(out, low.e.const(0.0))


TABLE: Table = {
    "aten._linalg_eigh": eigh,
    "aten._linalg_svd": svd,
}
