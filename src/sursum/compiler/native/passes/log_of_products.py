r"""Joint logarithms: a sum of softplus takes one logarithm for many rows.

log(1 + exp(x)) is computed as max(x, 0) + log1p(e) with e = exp(−|x|) ≤ 1, and a Bernoulli likelihood sums it over all rows.
With

.. math:: p \leftarrow p + e + p\,e, \qquad 1 + p = \prod_i (1 + e_i), \qquad \sum_i \log(1 + e_i) = \log(1 + p),

a logarithm for each row becomes a multiplication and an addition. No accuracy is lost where the e are tiny, since 1 is never
added to them; and p, at most 2ⁿ − 1, does not overflow while n is the number of rows in a block.
"""

from __future__ import annotations

from collections.abc import Sequence

from sursum.compiler.native.ir.expr import Expr, Exprs
from sursum.compiler.native.ir.patterns import EXPRS
from sursum.compiler.native.ir.program import Group, Loop, LoopProgram
from sursum.compiler.native.machine import JOINT_BLOCK, JOINT_ROWS, JOINT_TERMS
from sursum.compiler.rules import Rule, Var, apply_first, op

LOGS: Sequence[Rule[tuple[Group, Expr], Expr]] = (
    Rule(
        "Σ log1p(exp(−|x|)) → log1p(Π − 1), Π of 1 + exp(−|x|)",
        op("log1p", op("exp", op("neg", op("fabs", Var("x"))))),
        guard=lambda use, bound: _occurrences(*use) == 1,
        replacement=lambda use, bound: use[1].args[0],
    ),
)


def take_logs_of_products(program: LoopProgram) -> LoopProgram:
    """Splits the sums over rows that have such a term, in tiles and in loops of their own, which become tiles."""
    plan = program.planned
    tiled = {g for first, last, _ in plan.tiles for g in range(first, last + 1)}
    for g, group in enumerate(plan.groups):
        if len(group.shape) != 1 or group.shape[0] < JOINT_ROWS or group.serial:
            continue
        if _split(group, program.exprs) and g not in tiled:
            plan.tiles.append((g, g, min(JOINT_BLOCK, group.shape[0])))
    return program


def _split(group: Group, e: Exprs) -> bool:
    found = False
    for stage in group.stages:
        if not isinstance(stage, Loop) or stage.mode != "sum" or stage.reduced != {0} or stage.joint is not None:
            continue
        for sign, term in _terms(stage.expr):
            factor = apply_first(LOGS, (group, term), term, EXPRS)
            if factor is not None:
                stage.expr, stage.joint = _without(stage.expr, term, e) or e.const(0.0), (sign, factor)
                found = True
                break
    return found


def _terms(expr: Expr) -> list[tuple[int, Expr]]:
    """What an expression adds (1) and subtracts (−1); nothing where that is much."""
    found, left = [], [(1, expr)]
    while left:
        sign, x = left.pop()
        if x.op == "neg":
            left.append((-sign, x.args[0]))
        elif x.op in ("add", "sub"):
            left += [(sign, x.args[0]), (sign if x.op == "add" else -sign, x.args[1])]
        else:
            found.append((sign, x))
        if len(found) + len(left) > JOINT_TERMS:
            return []
    return found


def _without(expr: Expr, term: Expr, e: Exprs) -> Expr | None:
    """An expression without one of its terms; None if that is all there is."""
    if expr is term:
        return None
    if expr.op not in ("neg", "add", "sub"):
        return expr
    parts = [_without(arg, term, e) for arg in expr.args]
    if expr.op == "neg":
        return None if parts[0] is None else e.neg(parts[0])
    a, b = parts
    if a is None or b is None:
        return a if b is None else b if expr.op == "add" else e.neg(b)
    return e.add(a, b) if expr.op == "add" else e.sub(a, b)


def _occurrences(group: Group, term: Expr) -> int:
    """How often the stages of a group use an expression: once for each expression that it is a part of."""
    tops = [top for stage in group.stages if isinstance(stage, Loop) for top in stage.exprs()]
    parts = {id(x): x for top in tops for x in top.walk()}
    return sum(arg is term for x in parts.values() for arg in x.args) + sum(top is term for top in tops)
