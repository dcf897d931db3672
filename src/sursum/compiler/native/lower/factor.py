"""The gradient of a Cholesky factor, found in the six operators as which torch records it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.matrices import one_batch, split_batch, transposed
from sursum.compiler.native.lower.table import arguments_of, names
from sursum.compiler.native.machine import LAPACK_ROWS


def cholesky_backward(low: Lowering, last: Node) -> tuple[Ref, Ref] | None:
    r"""The factor L and its gradient G, if `last` ends what torch does backwards through :math:`A = L L^\top`:

    .. math:: L^{-\top}\, \tfrac12 (P + P^\top \text{ without its diagonal})\, L^{-1}, \quad P = \mathrm{tril}(L^\top G)

    None for everything else, which is lowered operator by operator.
    """
    factor, left = last.args[:2]
    if last.outputs[0] is None or last.outputs[0].size != factor.size:
        return None
    if not _solves(last, upper=False, left=False):
        return None
    solve = _maker(low, left, "linalg_solve_triangular")
    if solve is None or not _solves(solve, upper=True, left=True):
        return None
    half = _maker(low, solve.args[1], "mul")
    if half is None or half.args[1] != 0.5:
        return None
    total = _maker(low, half.args[0], "add")
    if total is None or total.kwargs.get("alpha", 1) != 1 or not isinstance(total.args[1], Ref):
        return None
    triangle, below = _maker(low, total.args[0], "tril"), _maker(low, transposed(total.args[1]), "tril")
    if triangle is None or below is None or len(triangle.args) != 1 or below.args != (total.args[0], -1):
        return None
    product = _maker(low, triangle.args[0], "mm") or _maker(low, triangle.args[0], "bmm")
    if product is None or product.args[0] != one_batch(transposed(factor)) or solve.args[0] != transposed(factor):
        return None
    made = _maker(low, factor, "linalg_cholesky_ex")
    if made is None or made.outputs[0] != factor or arguments_of(made)["upper"]:
        return None
    return factor, product.args[1]


def _solves(node: Node, *, upper: bool, left: bool) -> bool:
    """Whether a `linalg_solve_triangular` has these options, and divides by the diagonal."""
    options = arguments_of(node)
    return (options["upper"], options["left"], options["unitriangular"]) == (upper, left, False)


def _maker(low: Lowering, ref: Ref, name: str) -> Node | None:
    """The node that makes this very tensor, or one whose batch has other dimensions, if it is of that name."""
    node = low.makers.get(ref.value)
    if node is None or names(node)[1] != f"aten.{name}" or node.writes:
        return None
    return node if any(out is not None and one_batch(out) == one_batch(ref) for out in node.outputs) else None


def factor_gradient(low: Lowering, factor: Ref, gradient: Ref) -> Ref:
    """The symmetric gradient by A = L Lᵀ, from that by L, in (5/6) n³ operations instead of 4 n³.

    Source: Murray, "Differentiation of the Cholesky decomposition" (2016), section 4, with blocks that are halves.
    """
    out = low.new(factor.size)
    n, count = factor.size[-1], math.prod(factor.size[:-2])
    if n == 0 or count == 0:
        low.define(out, low.e.const(0.0))
        return out
    dense = low.dense(low.resolve(factor))
    routines: Sequence[str] = [low.blas(name) for name in ("dgemm", "threads", "dtrsm")] if n >= LAPACK_ROWS else ()
    function = "su_factor_gradient_blas" if n >= LAPACK_ROWS else "su_factor_gradient"
    low.call(out, function, *routines, count, n, dense, out, base=split_batch(gradient, factor.size))
    return out
