"""Rules: what a pass looks for, as patterns in one form, and what stands in its place.

A pattern is an operator of patterns, a name for anything (the same thing wherever the name occurs again), or a number. It is
matched against expressions of a loop (`native/ir/patterns.py`) and against tensors of a graph by the nodes that made them
(`graph/patterns.py`):

    x, c = Var("x"), Var("c")
    Rule("x / c → x · (1/c)", op("div", x, c), guard=is_data(c), replacement=x · load(reciprocal(c)))

Each rule has a row in `tests/compiler/test_rules.py`: a program in which it applies, and one in which it nearly does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Generic, Protocol, TypeVar

C = TypeVar("C")
T = TypeVar("T")

Bound = Mapping[str, Any]
"""What the names of a pattern stand for."""


@dataclass(frozen=True)
class Var:
    """Anything; the same thing wherever the name occurs again."""

    name: str


@dataclass(frozen=True)
class Applied:
    """The result of an operator that is called one of `names`.

    Arguments that are not told must have their defaults, unless it is `open`.
    """

    names: tuple[str, ...]
    args: tuple[Pattern, ...]
    options: Mapping[str, Pattern] = field(default_factory=dict)
    open: bool = False


@dataclass(frozen=True)
class Transposed:
    """The transpose of what matches, where that is a view of the same numbers."""

    of: Pattern


Pattern = Var | Applied | Transposed | float


def op(names: str, *args: Pattern | EllipsisType, **options: Pattern) -> Applied:
    """The pattern of an operator; `names` are alternatives, separated by spaces, and `...` is any other arguments."""
    told = tuple(arg for arg in args if not isinstance(arg, EllipsisType))
    return Applied(tuple(names.split()), told, options, open=len(told) < len(args))


class Terms(Protocol):
    """How a representation is looked at."""

    def parts(self, term: Any, names: tuple[str, ...], count: int) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
        """The first `count` arguments of the operator that made `term`, and those of the others that are not their defaults;
        None if none of these names made it."""
        ...

    def same(self, one: Any, other: Any) -> bool:
        """Whether two terms, or numbers, are the same."""
        ...

    def transposed(self, term: Any) -> Any:
        """The transpose of a term as a view; None where there is none."""
        ...


def match(pattern: Pattern, term: Any, terms: Terms, bound: Bound | None = None) -> dict[str, Any] | None:
    """What the names of `pattern` stand for where it is `term`; None where it is not.

    Args:
        terms: the representation.
        bound: what is known of the names already.

    Example:
        >>> from sursum.compiler.native.ir.expr import Affine, Exprs
        >>> from sursum.compiler.native.ir.patterns import EXPRS
        >>> e = Exprs()
        >>> x = e.load(0, Affine(0, (1,)), "f")
        >>> match(op("mul", Var("x"), Var("x")), e.mul(x, x), EXPRS)["x"] is x
        True
        >>> match(op("mul", Var("x"), Var("x")), e.mul(x, e.const(2.0)), EXPRS) is None
        True
    """
    found = dict(bound or {})
    if isinstance(pattern, Var):
        return found if terms.same(found.setdefault(pattern.name, term), term) else None
    if isinstance(pattern, Transposed):
        view = terms.transposed(term)
        return None if view is None else match(pattern.of, view, terms, found)
    if not isinstance(pattern, Applied):
        return found if terms.same(term, pattern) else None
    parts = terms.parts(term, pattern.names, len(pattern.args))
    if parts is None:
        return None
    args, given = parts
    if not pattern.options.keys() <= given.keys() or not (pattern.open or given.keys() <= pattern.options.keys()):
        return None
    options = [(part, given[name]) for name, part in pattern.options.items()]
    for part, value in (*zip(pattern.args, args, strict=True), *options):
        deeper = match(part, value, terms, found)
        if deeper is None:
            return None
        found = deeper
    return found


@dataclass(frozen=True)
class Rule(Generic[C, T]):
    """What matches `pattern`, where `guard` holds, becomes the `replacement`.

    Args:
        says: the rule as an equation, for people.
        pattern: what is looked for.
        guard: whether it applies, from the context of the pass and what the names stand for.
        replacement: what stands in its place.
    """

    says: str
    pattern: Pattern
    guard: Callable[[C, Bound], bool]
    replacement: Callable[[C, Bound], T]


def apply_first(rules: Iterable[Rule[C, T]], context: C, term: Any, terms: Terms) -> T | None:
    """The replacement of `term` by the first of these rules that applies; None if none does."""
    for rule in rules:
        bound = match(rule.pattern, term, terms)
        if bound is not None and rule.guard(context, bound):
            return rule.replacement(context, bound)
    return None
