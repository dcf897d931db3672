"""Questions about a recording whose answer is the same for every q: whether two tensors are one computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.graph import Node, Ref

aten = torch.ops.aten

_EQUAL = frozenset((aten.eq.Tensor, aten.equal.default, aten.allclose.default, aten.ge.Tensor, aten.le.Tensor))
_UNEQUAL = frozenset((aten.ne.Tensor, aten.gt.Tensor, aten.lt.Tensor))
_WHOLE = frozenset((aten.all.default, aten.any.default, aten._is_all_true.default, aten._is_any_true.default))
# Factorisations, and the index of the result that says whether they succeeded.
_FACTORS = {
    aten.linalg_cholesky_ex.default: 1,
    aten.linalg_lu_factor_ex.default: 2,
    aten.linalg_ldl_factor_ex.default: 2,
    aten.linalg_inv_ex.default: 1,
}
# The result of such an operator is uninitialised memory.
_UNWRITTEN = frozenset(
    op
    for name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
    for op in (getattr(getattr(aten, name), overload) for overload in getattr(aten, name).overloads())
)


class Computations:
    """How the values of a recording were computed.

    Args:
        fixed: a tensor that no operator makes; None for one that is made.
    """

    def __init__(self, fixed: Callable[[Ref], Tensor | None]) -> None:
        self._fixed = fixed
        self._made: dict[int, tuple[Node, int]] = {}  # value → the operator that makes it, and which of its results it is

    def add(self, node: Node) -> None:
        """Record an operator that has run."""
        for place, output in enumerate(node.outputs):
            if output is not None:
                self._made.setdefault(output.value, (node, place))
        for place, write in enumerate(node.writes):
            self._made[write.value] = node, -1 - place

    def decided(self, op: Any, args: tuple[Any, ...]) -> bool | None:
        """The result of a comparison if it is the same for every q at which its sides are not NaN; None if it depends on q.

        Args:
            op: the operator, or that of a reduction of a comparison to one truth value.
            args: its arguments, with a `Ref` for every tensor.
        """
        if op in _EQUAL or op in _UNEQUAL:
            one, other = args[0], args[1]
            if not isinstance(one, Ref) or not isinstance(other, Ref):
                return None
            if op is aten.equal.default and one.size != other.size:
                return False
            return op in _EQUAL if self.are_one(one, other) else None
        if op in _WHOLE or op is aten._local_scalar_dense.default:
            node, _ = self._made.get(args[0].value, (None, 0))
            return None if node is None or node.writes else self.decided(node.op, node.args)
        if op is aten.logical_not.default:
            node, _ = self._made.get(args[0].value, (None, 0))
            found = None if node is None or node.writes else self.decided(node.op, node.args)
            return None if found is None else not found
        return None

    def is_success(self, ref: Ref) -> bool:
        """Whether a truth value asks if any of the factorisations of one operator failed."""
        node, _ = self._made.get(ref.value, (None, 0))
        if node is None or node.op is not aten.any.default:
            return False
        node, place = self._made.get(node.args[0].value, (None, 0))
        return node is not None and _FACTORS.get(node.op) == place

    def are_one(self, one: Ref, other: Ref) -> bool:
        """Whether two tensors are made by the same operators from the same inputs."""
        pairs, known = [(one, other)], set[tuple[int, int]]()
        while pairs:
            left, right = pairs.pop()
            if (left.size, left.stride, left.offset, left.dtype) != (right.size, right.stride, right.offset, right.dtype):
                return False
            if left.value == right.value or (left.value, right.value) in known:
                continue
            mine, yours = self._fixed(left), self._fixed(right)
            if mine is not None and yours is not None:
                if not same_bits(mine, yours):
                    return False
                continue
            known.add((left.value, right.value))
            (made, place), (beside, there) = (self._made.get(ref.value, (None, 0)) for ref in (left, right))
            if made is None or beside is None or place != there or made.op is not beside.op or made.op in _UNWRITTEN:
                return False
            if not _alike((made.args, dict(made.kwargs)), (beside.args, dict(beside.kwargs)), pairs):
                return False
        return True


def _alike(one: Any, other: Any, pairs: list[tuple[Ref, Ref]]) -> bool:
    """Whether two trees of arguments are equal apart from their tensors, whose pairs are added to `pairs`."""
    if isinstance(one, Ref) and isinstance(other, Ref):
        pairs.append((one, other))
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(_alike(a, b, pairs) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key], pairs) for key in one)
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)
