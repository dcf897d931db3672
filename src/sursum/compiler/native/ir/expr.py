"""Index expressions: what one iteration of a loop computes, as a shared graph of scalar operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.show import show_expr


class Expr:
    """One scalar operation. `kind` is "f" (double), "i" (int64_t) or "b" (bool).

    `op` is "const" (`data` the number), "index" (`data` an Affine in the loop variables), "load" (`data` the value's
    id, an Affine and one stride for each of `args`, which are index expressions), or the name of a scalar function.
    Equal expressions of one `Exprs` are one object, so that identity is equality.
    """

    __slots__ = ("_loads", "_reads", "_walk", "args", "data", "depth", "kind", "op")

    def __init__(self, op: str, args: tuple[Expr, ...], data: Any, kind: str) -> None:
        self.op, self.args, self.data, self.kind = op, args, data, kind
        self.depth: int = 1 + max([a.depth for a in args]) if args else 1
        # Found once, since everything that looks at loops asks again and again.
        self._walk: tuple[Expr, ...] | None = None
        self._loads: tuple[Expr, ...] | None = None
        self._reads: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return show_expr(self)

    def walk(self) -> tuple[Expr, ...]:
        """Every distinct expression below and including this one, operands first."""
        if self._walk is None:
            self._walk = tuple(self._below()) if self.args else (self,)
        return self._walk

    def _below(self) -> list[Expr]:
        seen: set[int] = set()
        found: list[Expr] = []
        stack: list[tuple[Expr, bool]] = [(self, False)]
        while stack:
            expr, done = stack.pop()
            if done:
                found.append(expr)
            elif id(expr) not in seen:
                seen.add(id(expr))
                if expr.args:
                    stack.append((expr, True))
                    stack.extend([(a, False) for a in expr.args])
                else:
                    found.append(expr)
        return found

    def loads(self) -> tuple[Expr, ...]:
        """Every distinct load."""
        if self._loads is None:
            self._loads = tuple([e for e in self.walk() if e.op == "load"])
        return self._loads

    def reads(self) -> tuple[int, ...]:
        """The value of each of these."""
        if self._reads is None:
            self._reads = tuple([e.data[0] for e in self.loads()])
        return self._reads

    def affines(self) -> Iterator[Affine]:
        """Every affine index that occurs."""
        for e in self.walk():
            if e.op == "load":
                yield e.data[1]
            elif e.op == "index":
                yield e.data


class Exprs:
    """Makes expressions, shares equal ones and simplifies what is exact for every input, NaN and infinities included.

    Example:
        >>> e = Exprs()
        >>> x = e.load(0, Affine(0, (1,)), "f")
        >>> e.mul(x, e.const(1.0)) is x, e.add(x, e.const(0.0)) is x  # −0 + 0 is 0: not the same
        (True, False)
    """

    def __init__(self) -> None:
        self._made: dict[Any, Expr] = {}

    def make(self, op: str, args: tuple[Expr, ...] = (), data: Any = None, kind: str = "f") -> Expr:
        """The one expression of these parts."""
        key: Any = (op, tuple(map(id, args)), data, kind)
        if op == "const":  # 0.0 == −0.0 and nan != nan
            key = (op, repr(data), None, kind)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = Expr(op, args, data, kind)
        return found

    # Leaves -----------------------------------------------------------------------------------------------------------

    def const(self, number: float, kind: str = "f") -> Expr:
        """A number that stands in the program's text."""
        value: float = float(number) if kind == "f" else int(number)
        return self.make("const", (), value, kind)

    def index(self, affine: Affine) -> Expr:
        """A loop variable, or an affine combination of them, as an integer."""
        if not any(affine.coefs):
            return self.const(affine.offset, "i")
        return self.make("index", (), affine, "i")

    def load(self, value: int, affine: Affine, kind: str, indices: Sequence[Expr] = (), strides: Sequence[int] = ()) -> Expr:
        """An element of a value, at `affine` + Σ strides·indices."""
        return self.make("load", tuple(indices), (value, affine, tuple(strides)), kind)

    # Conversions ------------------------------------------------------------------------------------------------------

    def cast(self, x: Expr, kind: str) -> Expr:
        """`x` as another kind: to "b" it is x ≠ 0, to "i" it is cut off."""
        if x.kind == kind:
            return x
        if x.op == "const" and math.isfinite(x.data):
            return self.const(bool(x.data) if kind == "b" else x.data, kind)
        if kind == "b":
            return self.ne(x, self.const(0, x.kind))
        return self.make("cast", (x,), None, kind)

    def double(self, x: Expr) -> Expr:
        """`x` as a double."""
        return self.cast(x, "f")

    def promote(self, *xs: Expr) -> tuple[Expr, ...]:
        """`xs` in the widest of their kinds."""
        kinds = {x.kind for x in xs}
        kind = "f" if "f" in kinds else "i" if "i" in kinds else "b"
        return tuple(self.cast(x, kind) for x in xs)

    # Arithmetic -------------------------------------------------------------------------------------------------------

    def _numbers(self, *xs: Expr) -> tuple[Expr, ...]:
        """Promoted, and bool no more."""
        return tuple(self.cast(x, "i") if x.kind == "b" else x for x in self.promote(*xs))

    def _fold(self, fn: Callable[..., float], *xs: Expr) -> Expr | None:
        if all(x.op == "const" and math.isfinite(x.data) for x in xs):
            number = fn(*(x.data for x in xs))
            if math.isfinite(number):
                return self.const(number, xs[0].kind)
        return None

    def neg(self, x: Expr) -> Expr:
        """−x"""
        (x,) = self._numbers(x)
        if x.op == "const" and not (x.kind == "i" and x.data == 0):
            return self.const(-x.data, x.kind)
        return x.args[0] if x.op == "neg" else self.make("neg", (x,), kind=x.kind)

    def add(self, a: Expr, b: Expr) -> Expr:
        """a + b"""
        if a.kind == b.kind == "b":
            return self.make("or", (a, b), kind="b")
        a, b = self._numbers(a, b)
        for x, y in ((a, b), (b, a)):
            if y.op == "const" and y.data == 0 and (y.kind == "i" or math.copysign(1, y.data) < 0):
                return x
        if b.op == "neg":
            return self.sub(a, b.args[0])
        return self._fold(lambda p, q: p + q, a, b) or self.make("add", (a, b), kind=a.kind)

    def sub(self, a: Expr, b: Expr) -> Expr:
        """a − b"""
        a, b = self._numbers(a, b)
        if b.op == "const" and b.data == 0 and (b.kind == "i" or math.copysign(1, b.data) > 0):
            return a
        return self._fold(lambda p, q: p - q, a, b) or self.make("sub", (a, b), kind=a.kind)

    def mul(self, a: Expr, b: Expr) -> Expr:
        """a · b"""
        if a.kind == b.kind == "b":
            return self.make("and", (a, b), kind="b")
        a, b = self._numbers(a, b)
        for x, y in ((a, b), (b, a)):
            if y.op == "const" and y.data == 1:
                return x
            if y.op == "const" and y.data == -1:
                return self.neg(x)
        return self._fold(lambda p, q: p * q, a, b) or self.make("mul", (a, b), kind=a.kind)

    def div(self, a: Expr, b: Expr) -> Expr:
        """a / b, in double."""
        a, b = self.double(a), self.double(b)
        if b.op == "const" and math.isfinite(b.data) and b.data and abs(math.frexp(b.data)[0]) == 0.5:
            inverse = 1.0 / b.data  # a power of two: exact, unless the inverse leaves the normal numbers
            if 1e-300 < abs(inverse) < 1e300:
                return self.mul(a, self.const(inverse))
        return self.make("div", (a, b))

    def call(self, function: str, *args: Expr) -> Expr:
        """A function of doubles."""
        return self.make(function, tuple(self.double(a) for a in args))

    def pow(self, a: Expr, b: Expr) -> Expr:
        """a to the power b, as torch computes it for the exponents that it treats apart."""
        if b.op == "const":
            x = self.double(a)
            simple: dict[float, Callable[[], Expr]] = {
                0.0: lambda: self.const(1.0),
                1.0: lambda: x,
                2.0: lambda: self.mul(x, x),
                3.0: lambda: self.mul(self.mul(x, x), x),
                0.5: lambda: self.call("sqrt", x),
                -0.5: lambda: self.div(self.const(1.0), self.call("sqrt", x)),
                -1.0: lambda: self.div(self.const(1.0), x),
                -2.0: lambda: self.div(self.const(1.0), self.mul(x, x)),
            }
            if b.data in simple:
                return simple[b.data]()
        return self.call("pow", a, b)

    # Comparison, logic, choice ----------------------------------------------------------------------------------------

    def _compare(self, op: str, a: Expr, b: Expr) -> Expr:
        return self.make(op, self._numbers(a, b), kind="b")

    def lt(self, a: Expr, b: Expr) -> Expr:
        """a < b"""
        return self._compare("lt", a, b)

    def le(self, a: Expr, b: Expr) -> Expr:
        """a ≤ b"""
        return self._compare("le", a, b)

    def gt(self, a: Expr, b: Expr) -> Expr:
        """a > b"""
        return self._compare("gt", a, b)

    def ge(self, a: Expr, b: Expr) -> Expr:
        """a ≥ b"""
        return self._compare("ge", a, b)

    def eq(self, a: Expr, b: Expr) -> Expr:
        """a = b"""
        return self._compare("eq", a, b)

    def ne(self, a: Expr, b: Expr) -> Expr:
        """a ≠ b"""
        return self._compare("ne", a, b)

    def isnan(self, x: Expr) -> Expr:
        """Whether x is NaN."""
        if x.op == "const":
            return self.const(math.isnan(x.data), "b")
        return self.ne(x, x) if x.kind == "f" else self.const(0, "b")

    def _logic(self, op: str, a: Expr, b: Expr) -> Expr:
        return self.make(op, (self.cast(a, "b"), self.cast(b, "b")), kind="b")

    def all_of(self, a: Expr, b: Expr) -> Expr:
        """a and b"""
        for x, y in ((a, b), (b, a)):
            if x.op == "const":
                return self.cast(y, "b") if x.data else self.const(0, "b")
        return self._logic("and", a, b)

    def any_of(self, a: Expr, b: Expr) -> Expr:
        """a or b"""
        for x, y in ((a, b), (b, a)):
            if x.op == "const":
                return self.const(1, "b") if x.data else self.cast(y, "b")
        return self._logic("or", a, b)

    def differ(self, a: Expr, b: Expr) -> Expr:
        """a or b, not both"""
        return self._logic("xor", a, b)

    def negate(self, a: Expr) -> Expr:
        """not a"""
        a = self.cast(a, "b")
        return self.const(1 - a.data, "b") if a.op == "const" else self.make("not", (a,), kind="b")

    def where(self, condition: Expr, a: Expr, b: Expr) -> Expr:
        """a where the condition holds, else b."""
        a, b = self.promote(a, b)
        condition = self.cast(condition, "b")
        if condition.op == "const":
            return a if condition.data else b
        return a if a is b else self.make("select", (condition, a, b), kind=a.kind)

    def maximum(self, a: Expr, b: Expr) -> Expr:
        """The larger; NaN if either is."""
        a, b = self._numbers(a, b)
        return self.where(self.any_of(self.gt(a, b), self.isnan(a)), a, b)

    def minimum(self, a: Expr, b: Expr) -> Expr:
        """The smaller; NaN if either is."""
        a, b = self._numbers(a, b)
        return self.where(self.any_of(self.lt(a, b), self.isnan(a)), a, b)

    # Rewriting --------------------------------------------------------------------------------------------------------

    def rewrite(self, expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
        """`expr` with `change(e)` in the place of every e for which it is not None; operands first."""
        done: dict[int, Expr] = {}
        for e in expr.walk():
            args = tuple([done[id(a)] for a in e.args])
            new = e if args == e.args else self.make(e.op, args, e.data, e.kind)
            done[id(e)] = change(new) or new
        return done[id(expr)]

    def reindex(self, expr: Expr, index: Sequence[Affine], ndim: int) -> Expr:
        """`expr` at other iterations: loop variable k replaced by `index[k]`, affine in `ndim` new ones."""

        def change(e: Expr) -> Expr | None:
            if e.op == "load":
                value, affine, strides = e.data
                return self.load(value, affine.through(index, ndim), e.kind, e.args, strides)
            return self.index(e.data.through(index, ndim)) if e.op == "index" else None

        return self.rewrite(expr, change)
