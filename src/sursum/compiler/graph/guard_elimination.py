"""Eliminate guards that always hold: a value that is nonnegative by construction needs no check for that, and the result
of a Cholesky factorisation needs none that it is a factor."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import torch

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
    nonnegative = {id for id, constant in graph.constants.items() if bool((constant >= 0).all())}
    true = {id for id in nonnegative if graph.constants[id].dtype is torch.bool and bool(graph.constants[id].all())}
    succeeded = {guard.ref for guard in graph.guards if guard.kind == "zero"}
    factors: dict[int, Ref] = {}
    triangles: set[tuple[Ref, Ref]] = set()  # a factor's lower triangle, and the factor
    for node in graph.nodes:
        output = node.outputs[0] if node.outputs else None
        if output is None or node.writes:
            continue
        if node.op is aten.linalg_cholesky_ex.default and node.outputs[1] in succeeded and _is_lower(node):
            factors[output.value] = output
        elif node.op is aten.tril.default and node.args[0] == factors.get(node.args[0].value) and len(node.args) == 1:
            triangles.add((output, node.args[0]))
        elif output.dtype is torch.bool:
            if _is_true(node, nonnegative, true) or _is_of_factor(node, factors, triangles):
                true.add(output.value)
        elif len(node.outputs) == 1 and output.dtype.is_floating_point and is_nonnegative(node, nonnegative):
            nonnegative.add(output.value)
    return replace(graph, guards=tuple(g for g in graph.guards if g.kind != "true" or g.ref.value not in true))


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
