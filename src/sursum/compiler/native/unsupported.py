"""The error for a program that the native engine has no C for."""

from __future__ import annotations

from sursum.compiler.graph.graph import Where
from sursum.errors import CompileError


class UnsupportedOperator(CompileError):
    """An operator, or a form of one, without a lowering. `op` names it, `where` says from which site it came.

    Example:
        >>> print(UnsupportedOperator("aten.sort.default", Where("theta", "model.py:12"), ""))
        no C for aten.sort.default at site 'theta' (model.py:12): the torch engine runs it
    """

    def __init__(self, op: str, where: Where, detail: str) -> None:
        self.op, self.where, self.detail = op, where, detail
        place = f" at site {where.site!r}" if where.site else ""
        place += f" ({where.line})" if where.line else ""
        why = f" ({detail})" if detail else ""
        super().__init__(f"no C for {op}{place}{why}: the torch engine runs it")
