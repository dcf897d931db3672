"""Eliminate guards that always hold: a value that is nonnegative by construction needs no check for that, and the result
of a Cholesky factorisation needs none that it is a factor."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import about
from sursum.compiler.graph.graph import Graph, Node, Ref
from sursum.compiler.graph.signs import is_nonnegative

aten = torch.ops.aten


def eliminate_proved_guards(graph: Graph) -> Graph:
    r"""`graph` without the guards of the kind :math:`x \ge c,\ c \le 0`, for an x that is never negative, and without those
    that a Cholesky factor is triangular and has a positive diagonal.

    Only signs are proved, and conservatively: exp(x) may underflow to 0, so `exp(x) > 0` is not proved.
    A NaN counts as "not negative". Without its guard it does not reject the point itself, but it reaches the log
    density, and a density that is not finite is rejected as well. A factor is trusted if another guard checks that its
    factorisation succeeded: a NaN anywhere in a row makes its pivot NaN.
    """
    nonnegative, true = _Proved(), _Proved()
    for id, constant in graph.constants.items():
        if _is_nonnegative(constant):
            nonnegative.of[id] = frozenset([id])
            if constant.dtype is torch.bool and _is_all(constant):
                true.of[id] = frozenset([id])
    succeeded = {guard.ref for guard in graph.guards if guard.kind == "zero"}
    factors: dict[int, Ref] = {}
    triangles: set[tuple[Ref, Ref]] = set()  # a factor's lower triangle, and the factor
    for node in graph.nodes:
        nonnegative.forget()
        true.forget()
        output = node.outputs[0] if node.outputs else None
        if output is None or node.writes:
            continue
        if node.op is aten.linalg_cholesky_ex.default and node.outputs[1] in succeeded and _is_lower(node):
            factors[output.value] = output
        elif node.op is aten.tril.default and node.args[0] == factors.get(node.args[0].value) and len(node.args) == 1:
            triangles.add((output, node.args[0]))
        elif output.dtype is torch.bool:
            if _is_true(node, nonnegative, true) or _is_of_factor(node, factors, triangles):
                true.add(output.value, nonnegative)
        elif len(node.outputs) == 1 and output.dtype.is_floating_point and is_nonnegative(node, nonnegative):
            nonnegative.add(output.value, true)
    gone = {guard.ref.value for guard in graph.guards if guard.kind == "true" and guard.ref.value in true}
    used = sorted({id for value in gone for id in true.of[value]})
    assumed = [about(id, _is_all if id in true else _is_nonnegative) for id in used]
    guards = tuple(guard for guard in graph.guards if guard.kind != "true" or guard.ref.value not in gone)
    return replace(graph, guards=guards, assumed=(*graph.assumed, *assumed))


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
        self.of[value] = self._relied() | other._relied()

    def _relied(self) -> frozenset[int]:
        return frozenset(id for value in self._asked for id in self.of[value])

    def forget(self) -> None:
        """A new proof begins."""
        self._asked.clear()


def _is_nonnegative(constant: Tensor) -> bool:
    return bool((constant >= 0).all())


def _is_all(constant: Tensor) -> bool:
    return bool(constant.all())


def _is_lower(node: Node) -> bool:
    return not (node.kwargs.get("upper", False) or any(node.args[1:2]))


def _is_of_factor(node: Node, factors: Mapping[int, Ref], triangles: Container[tuple[Ref, Ref]]) -> bool:
    """Whether `node` asks if a factor equals its lower triangle, or if its diagonal is positive."""
    if node.op is aten.eq.Tensor:
        return tuple(node.args[:2]) in triangles
    if node.op is not aten.gt.Scalar or node.args[1] > 0:
        return False
    seen = node.args[0]
    factor = factors.get(seen.value)
    return factor is not None and seen == replace(
        factor, size=factor.size[:-1], stride=(*factor.stride[:-2], sum(factor.stride[-2:]))
    )


def _is_true(node: Node, nonnegative: Container[int], true: Container[int]) -> bool:
    """Whether the result of `node` is true everywhere, if the values in `true` are."""
    op, args = node.op, node.args
    if op in (aten._is_all_true.default, aten.all.default, aten.all.dim, aten.min.dim):
        return args[0].value in true
    if op in (aten.bitwise_and.Tensor, aten.logical_and.default):
        return all(isinstance(item, Ref) and item.value in true for item in args)
    if op is aten.ge.Scalar:
        return args[0].value in nonnegative and args[1] <= 0
    return op is aten.gt.Scalar and args[0].value in nonnegative and args[1] < 0
