"""Expressions, as patterns see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sursum.compiler.native.ir.expr import Expr


class _ExprTerms:
    """How rules look at expressions: equal ones are one object."""

    def parts(self, term: Any, names: tuple[str, ...], count: int) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
        if not isinstance(term, Expr) or term.op not in names or len(term.args) != count:
            return None
        return term.args, {}

    def same(self, one: Any, other: Any) -> bool:
        if isinstance(one, Expr) and not isinstance(other, Expr):
            return one.op == "const" and bool(one.data == other)
        return one is other

    def transposed(self, term: Any) -> Any:
        return None


EXPRS = _ExprTerms()
