"""Scalar expressions as C text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ops import OPS, OperatorCost

TYPES = {"f": "double", "i": "int64_t", "b": "bool"}
VARIABLES = ("i", "j", "k", "l", "m", "n", "o", "p", "r", "u")


def literal(number: float, kind: str) -> str:
    """A number in C.

    Example:
        >>> literal(-0.5, "f"), literal(float("inf"), "f"), literal(1, "b"), literal(3, "f")
        ('-0.5', 'INFINITY', 'true', '3.0')
    """
    if kind == "b":
        return "true" if number else "false"
    if kind == "i":
        return str(int(number)) if abs(number) < 2**31 else f"INT64_C({int(number)})"
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return repr(float(number))


def place(affine: Affine, extra: Sequence[str] = ()) -> str:
    """An index in C.

    Example:
        >>> place(Affine(3, (4, 1))), place(Affine(0, (0,)))
        ('i * 4 + j + 3', '0')
    """
    terms = [
        VARIABLES[d] if c == 1 else f"{VARIABLES[d]} * {c}" if c > 0 else f"{VARIABLES[d]} * ({c})"
        for d, c in enumerate(affine.coefs) if c
    ]  # fmt: skip
    terms += extra
    if affine.offset or not terms:
        terms.append(str(affine.offset))
    return " + ".join(terms).replace("+ -", "- ")


class ScalarBody:
    """The statements of a loop nest, each at the depth at which it varies. Equal texts are computed once.

    `lines[d]` stands inside d loops. `load(expr, indices)` writes a load and says at which depth it varies, if not as
    its index does; `used` collects the names of the functions that are called. `scales` are the names of what is 1, unless
    something is divided by a subnormal number.
    """

    def __init__(
        self,
        load: Callable[[Expr, Sequence[str]], tuple[str, int | None]],
        used: set[str],
        fresh: Callable[[], str],
        depth: int = 0,
    ) -> None:
        self.depth = depth
        self.lines: list[list[str]] = [[] for _ in range(depth + 1)]
        self.scales: list[str] = []
        self._load, self._used, self._fresh = load, used, fresh
        self._names: dict[tuple[str, str], tuple[str, int]] = {}

    def name(self, text: str, kind: str, level: int, wish: str | None = None) -> str:
        """A constant that holds `text`: an earlier one, or a new one with the wished name."""
        if text.isidentifier() and wish is None:
            return text
        known = self._names.get((text, kind))
        if known is None:
            known = (wish or self._fresh(), level)
            self._names[text, kind] = known
            self.lines[level].append(f"const {TYPES[kind]} {known[0]} = {text};")
        return known[0]

    def text(self, expr: Expr) -> tuple[str, int]:
        """The C of an expression, and the depth at which it varies. What is used twice in it, every call, and what
        varies less often than what it is part of gets a name first."""
        parents: dict[int, int] = {}
        order = expr.walk()
        for e in order:
            for a in e.args:
                parents[id(a)] = parents.get(id(a), 0) + 1
        found: dict[int, tuple[str, int]] = {}
        for e in order:
            args = [found[id(a)] for a in e.args]
            level = max([self._level(e), *[lv for _, lv in args]]) if args else self._level(e)
            if level and e.op not in ("load", "index"):
                for k, (text, lv) in enumerate(args):
                    if lv < level and not _cheap(text):
                        args[k] = (self.name(text, e.args[k].kind, lv), lv)
            if e.op == "div" and args[1][1] < level:
                text = self._quotient(args[0][0], *args[1])
            else:
                text, level = self._one(e, [t for t, _ in args], level)
            shared = parents.get(id(e), 0) > 1 and e.op not in ("const", "index")
            call = OPS[e.op].cost is OperatorCost.CALL
            if (shared or call or len(text) > 90) and (e is not expr or level < self.depth):
                text = self.name(text, e.kind, level)
            elif (text, e.kind) in self._names:
                text = self._names[text, e.kind][0]
            found[id(e)] = (text, level)
        return found[id(expr)]

    def _level(self, e: Expr) -> int:
        if e.op not in ("load", "index"):
            return 0
        affine = e.data[1] if e.op == "load" else e.data
        return max([d + 1 for d, c in enumerate(affine.coefs) if c], default=0) if affine.coefs else 0

    def _quotient(self, a: str, b: str, level: int) -> str:
        """a / b, where b varies less often: a times its reciprocal, scaled so that that is finite."""
        self._used.add("scale")
        scale = self.name(f"su_scale({b})", "f", level)
        self.scales = list(dict.fromkeys((*self.scales, scale)))
        inverse = self.name(f"1.0 / ({bracket(b)} * {scale})", "f", level)
        return f"({bracket(a)} * {scale}) * {inverse}"

    def _one(self, e: Expr, args: list[str], level: int) -> tuple[str, int]:
        if e.op == "load":
            text, own = self._load(e, args)
            return text, level if own is None else own
        return self._operation(e, args), level

    def _operation(self, e: Expr, args: list[str]) -> str:
        if e.op == "const":
            return literal(e.data, e.kind)
        if e.op == "index":
            return f"({place(e.data)})" if not place(e.data).isidentifier() else place(e.data)
        op = OPS[e.op]
        if e.kind == "i" and op.wraps and any(map(_may_be_large, e.walk())):
            # Of what is loaded or cast nothing is known, and C does not say what a sum that is too large is.
            left, right = args if len(args) == 2 else ("0", args[0])
            return f"(int64_t)((uint64_t){bracket(left)} {op.c} (uint64_t){bracket(right)})"
        if op.form == "infix":
            return f"{bracket(args[0])} {op.c} {bracket(args[1])}"
        if op.form == "prefix":
            return f"{op.c}{bracket(args[0])}"
        if e.op == "cast" and e.kind == "i" and e.args[0].kind == "f":
            self._used.add("integer")
            return f"su_integer({args[0]})"
        if e.op == "cast":
            return f"({TYPES[e.kind]}){bracket(args[0])}"
        if e.op == "narrow":
            return f"(int64_t)({e.data}){bracket(args[0])}"
        if e.op == "select":
            return f"{bracket(args[0])} ? {bracket(args[1])} : {bracket(args[2])}"
        self._used.add(e.op)
        return f"{op.c}({', '.join(args)})"


def _may_be_large(x: Expr) -> bool:
    """Whether an integer comes from memory or from a double, and so may be any."""
    return x.kind == "i" and (x.op == "load" or (x.op == "cast" and x.args[0].kind == "f"))


def _cheap(text: str) -> bool:
    """Whether a text is a name or a number."""
    return text.isidentifier() or text.lstrip("-").replace(".", "").replace("e-", "").isalnum()


def bracket(text: str) -> str:
    """A text that can be an operand."""
    plain = text.replace("_", "").replace(".", "").replace("[", "").replace("]", "")
    if plain.isalnum() or _is_closed(text):
        return text
    return f"({text})"


def _is_closed(text: str) -> bool:
    """Whether a text is a call, an element or a bracket from end to end."""
    if text[-1:] not in (")", "]"):
        return False
    head = 0
    while head < len(text) and (text[head].isalnum() or text[head] == "_"):
        head += 1
    if head == len(text) or text[head] not in "([":
        return False
    depth = 0
    for k in range(head, len(text)):
        depth += (text[k] in "([") - (text[k] in ")]")
        if depth == 0:
            return k == len(text) - 1
    return False
