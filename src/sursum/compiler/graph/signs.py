"""Sign analysis: values that are never negative, by the way they were computed."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch

from sursum.compiler.graph.graph import Node, Ref
from sursum.compiler.native.ops import OPS

aten = torch.ops.aten


def _of_sign(sign: str) -> tuple[Any, ...]:
    """The operators of torch that are one of the loop program's with this sign."""
    return tuple(getattr(aten, op.torch).default for op in OPS.values() if op.torch and op.sign == sign)


_ALWAYS = (
    *_of_sign("+"),
    aten.abs.default,
    aten.square.default,
    aten.sigmoid.default,
    aten.relu.default,
    aten._softmax.default,
)
_IF_ALL_ARE = (
    aten.mul.Tensor,
    aten.minimum.default,
    aten.where.self,
    aten.cat.default,
    aten.stack.default,
    aten.mm.default,
    aten.bmm.default,
    aten.mv.default,
    aten.dot.default,
)
_IF_FIRST_IS = (
    aten.sum.default,
    aten.sum.dim_IntList,
    aten.mean.default,
    aten.mean.dim,
    aten.cumsum.default,
    aten.prod.default,
    aten.clone.default,
    aten._to_copy.default,
    *_of_sign("x"),
    aten.index.Tensor,
    aten.index_select.default,
    aten.gather.default,
)
_BY_ARGUMENTS = (
    aten.softplus.default,
    aten.pow.Tensor_Scalar,
    aten.mul.Tensor,
    aten.add.Tensor,
    aten.div.Tensor,
    aten.maximum.default,
    aten.clamp_min.default,
    aten.clamp.default,
)
#: By identity: torch hashes an operator in Python.
_EVER = frozenset(map(id, (*_ALWAYS, *_IF_ALL_ARE, *_IF_FIRST_IS, *_BY_ARGUMENTS)))


def is_nonnegative(node: Node, nonnegative: Container[int]) -> bool:
    """Whether the result of `node` has no negative element, if the values in `nonnegative` have none."""

    def known(item: Any) -> bool:
        if isinstance(item, Ref):
            return item.dtype is torch.bool or item.value in nonnegative
        if isinstance(item, (list, tuple)):
            return all(known(part) for part in item)
        return isinstance(item, (int, float)) and item >= 0

    op, args = node.op, node.args
    if id(op) not in _EVER:
        return False
    if op in _ALWAYS:
        return True
    if op is aten.softplus.default:
        return len(args) < 2 or args[1] > 0
    if op is aten.pow.Tensor_Scalar:
        # An odd negative power of -0.0, which counts as nonnegative, is -inf.
        return args[1] % 2 == 0 or (args[1] > 0 and known(args[0]))
    if op is aten.mul.Tensor and args[0] == args[1]:
        return True
    if op is aten.add.Tensor:
        return known(args[0]) and known(args[1]) and node.kwargs.get("alpha", 1) >= 0
    if op is aten.div.Tensor:  # by a number only: x / -0.0 is -inf
        return known(args[0]) and isinstance(args[1], (int, float)) and args[1] > 0
    if op is aten.maximum.default:
        return known(args[0]) or known(args[1])
    if op in (aten.clamp_min.default, aten.clamp.default):
        ceiling = args[2] if len(args) > 2 else node.kwargs.get("max")
        floor = args[1] if len(args) > 1 else node.kwargs.get("min")
        return (known(args[0]) or known(floor)) and (ceiling is None or ceiling >= 0)
    if op in _IF_FIRST_IS:
        return known(args[0])
    return op in _IF_ALL_ARE and all(known(item) for item in args)
