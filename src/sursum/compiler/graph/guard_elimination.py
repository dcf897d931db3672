"""Eliminate guards that always hold: a value that is nonnegative by construction needs no check for that, and the result
of a Cholesky factorisation needs none that it is a factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import about
from sursum.compiler.graph.graph import Graph, Ref
from sursum.compiler.graph.patterns import NodeTerms
from sursum.compiler.graph.signs import is_nonnegative
from sursum.compiler.rules import Rule, Var, apply_first, match, op


def eliminate_proved_guards(graph: Graph) -> Graph:
    r"""`graph` without the guards of the kind :math:`x \ge c,\ c \le 0`, for an x that is never negative, and without those
    that a Cholesky factor is triangular and has a positive diagonal.

    Only signs are proved, and conservatively: exp(x) may underflow to 0, so `exp(x) > 0` is not proved.
    A NaN counts as "not negative". Without its guard it does not reject the point itself, but it reaches the log
    density, and a density that is not finite is rejected as well. A factor is trusted if another guard checks that its
    factorisation succeeded: a NaN anywhere in a row makes its pivot NaN.
    """
    known, terms = _Facts(), NodeTerms({})
    nonnegative, true = known.nonnegative, known.true
    for id, constant in graph.constants.items():
        if _is_nonnegative(constant):
            nonnegative.of[id] = frozenset([id])
            if constant.dtype is torch.bool and _is_all(constant):
                true.of[id] = frozenset([id])
    succeeded = {guard.ref for guard in graph.guards if guard.kind == "zero"}
    for node in graph.nodes:
        nonnegative.forget()
        true.forget()
        output = node.outputs[0] if node.outputs else None
        if output is None or node.writes:
            continue
        terms.makers[output.value] = node
        factor = match(_FACTOR, output, terms) if node.op is torch.ops.aten.linalg_cholesky_ex.default else None
        if factor is not None and node.outputs[1] in succeeded:
            known.factors[output.value] = output
        elif output.dtype is torch.bool:
            if apply_first(TRUE, known, output, terms):
                true.add(output.value, nonnegative)
        elif len(node.outputs) == 1 and output.dtype.is_floating_point and is_nonnegative(node, nonnegative):
            nonnegative.add(output.value, true)
    gone = {guard.ref.value for guard in graph.guards if guard.kind == "true" and guard.ref.value in true}
    used = sorted({id for value in gone for id in true.of[value]})
    assumed = [about(id, _is_all if id in true else _is_nonnegative) for id in used]
    guards = tuple(guard for guard in graph.guards if guard.kind != "true" or guard.ref.value not in gone)
    return replace(graph, guards=guards, assumed=(*graph.assumed, *assumed))


_FACTOR = op("linalg_cholesky_ex", Var("A"))


class _Proved:
    """Values of which something is proved, and the constants on whose numbers each proof relies.

    A proof relies on all values that were asked for since it began.
    """

    def __init__(self) -> None:
        self.of: dict[int, frozenset[int]] = {}
        self._asked: set[int] = set()

    def __contains__(self, value: object) -> bool:
        if value not in self.of:
            return False
        assert isinstance(value, int)
        self._asked.add(value)
        return True

    def add(self, value: int, other: _Proved) -> None:
        """`value` is proved, by what was asked of this and of another property."""
        self.of[value] = self._find_relied_on() | other._find_relied_on()

    def _find_relied_on(self) -> frozenset[int]:
        return frozenset(id for value in self._asked for id in self.of[value])

    def forget(self) -> None:
        """A new proof begins."""
        self._asked.clear()


def _is_nonnegative(constant: Tensor) -> bool:
    return bool((constant >= 0).all())


def _is_all(constant: Tensor) -> bool:
    return bool(constant.all())


def _is_number(item: Any) -> bool:
    return isinstance(item, (int, float))


def _yes(known: object, bound: object) -> bool:
    return True


@dataclass(frozen=True)
class _Facts:
    """What is known of the values so far; `factors` are lower Cholesky factors, whose factorisations succeeded."""

    nonnegative: _Proved = field(default_factory=_Proved)
    true: _Proved = field(default_factory=_Proved)
    factors: dict[int, Ref] = field(default_factory=dict)

    def is_true(self, item: Any) -> bool:
        return isinstance(item, Ref) and item.value in self.true

    def is_nonnegative(self, item: Any) -> bool:
        return isinstance(item, Ref) and item.value in self.nonnegative

    def is_factor(self, item: Any) -> bool:
        return isinstance(item, Ref) and self.factors.get(item.value) == item

    def is_diagonal(self, item: Any) -> bool:
        """Whether these are the diagonals of factors."""
        factor = self.factors.get(item.value) if isinstance(item, Ref) else None
        return factor is not None and item == replace(
            factor, size=factor.size[:-1], stride=(*factor.stride[:-2], sum(factor.stride[-2:]))
        )


_X, _Y, _F = Var("x"), Var("y"), Var("F")

#: What is true everywhere, and needs no guard.
TRUE: Sequence[Rule[_Facts, bool]] = (
    Rule("all of what is true", op("_is_all_true all", _X, ...), lambda known, b: known.is_true(b["x"]), _yes),
    Rule(
        "the least of what is true, along a dimension",
        op("min", _X, _Y, ...),
        lambda known, b: isinstance(b["y"], int) and known.is_true(b["x"]),
        _yes,
    ),
    Rule(
        "x and y, both true",
        op("bitwise_and logical_and", _X, _Y),
        lambda known, b: known.is_true(b["x"]) and known.is_true(b["y"]),
        _yes,
    ),
    Rule(
        "x ≥ c, x never negative, c ≤ 0",
        op("ge", _X, _Y),
        lambda known, b: _is_number(b["y"]) and b["y"] <= 0 and known.is_nonnegative(b["x"]),
        _yes,
    ),
    Rule(
        "x > c, x never negative, c < 0",
        op("gt", _X, _Y),
        lambda known, b: _is_number(b["y"]) and b["y"] < 0 and known.is_nonnegative(b["x"]),
        _yes,
    ),
    Rule(
        "diagonal of F > c, F a Cholesky factor, c ≤ 0",
        op("gt", _F, _Y),
        lambda known, b: _is_number(b["y"]) and b["y"] <= 0 and known.is_diagonal(b["F"]),
        _yes,
    ),
    Rule("tril(F) = F, F a Cholesky factor", op("eq", op("tril", _F), _F), lambda known, b: known.is_factor(b["F"]), _yes),
)
