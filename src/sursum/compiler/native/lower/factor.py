"""The gradient of a Cholesky factor, found in the six operators as which torch records it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sursum.compiler.graph.graph import Ref
from sursum.compiler.graph.patterns import NodeTerms
from sursum.compiler.native.lower.context import Lowering
from sursum.compiler.native.lower.matrices import split_batch
from sursum.compiler.native.machine import LAPACK_ROWS
from sursum.compiler.rules import Bound, Rule, Transposed, Var, op

_L, _G = Var("L"), Var("G")
_P = op("tril", op("mm bmm", Transposed(_L), _G))


def _is_factor(low: Lowering, bound: Bound) -> bool:
    """Whether L is the lower factor of a Cholesky factorisation, and the result a matrix for each."""
    made = NodeTerms(low.makers).parts(bound["L"], ("linalg_cholesky_ex",), 1)
    return made is not None and "upper" not in made[1]


#: Backwards through A = L Lᵀ torch records L⁻ᵀ · ½ (P + Pᵀ without its diagonal) · L⁻¹ with P = tril(Lᵀ G).
FACTOR: Sequence[Rule[Lowering, Ref]] = (
    Rule(
        "L⁻ᵀ ½ (P + tril(P, −1)ᵀ) L⁻¹, P = tril(Lᵀ G) → the gradient by blocks",
        op(
            "linalg_solve_triangular",
            _L,
            op(
                "linalg_solve_triangular",
                Transposed(_L),
                op("mul", op("add", _P, Transposed(op("tril", _P, -1))), 0.5),
                upper=True,
            ),
            upper=False,
            left=False,
        ),
        guard=_is_factor,
        replacement=lambda low, bound: factor_gradient(low, bound["L"], bound["G"]),
    ),
)


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
