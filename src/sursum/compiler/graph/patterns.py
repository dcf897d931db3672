"""Tensors of a graph, as patterns see them: by the nodes that made them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sursum.compiler.graph.graph import Node, Ref, is_inner


class NodeTerms:
    """How rules look at tensors. An operator gives its first result; one that writes into an argument matches nothing.

    A batch of several dimensions is the same as one of a single dimension that has the same matrices.

    Args:
        makers: the node that made each value.
    """

    def __init__(self, makers: dict[int, Node]) -> None:
        self.makers = makers

    def parts(self, term: Any, names: tuple[str, ...], count: int) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
        node = self.makers.get(term.value) if isinstance(term, Ref) else None
        if node is None or not node.outputs or node.outputs[0] is None or not self.same(node.outputs[0], term):
            return None
        if is_inner(node.op) or node.writes or node.op._schema.name.removeprefix("aten::") not in names:
            return None
        arguments = node.op._schema.arguments
        if len(arguments) < count:
            return None
        given = {a.name: x for a, x in zip(arguments, node.args, strict=False)} | dict(node.kwargs)
        values = {a.name: given.get(a.name, a.default_value if a.has_default_value() else None) for a in arguments}
        others = {a.name: values[a.name] for a in arguments[count:] if a.name in given and not _is_default(a, values[a.name])}
        return tuple(values[a.name] for a in arguments[:count]), others

    def same(self, one: Any, other: Any) -> bool:
        if isinstance(one, Ref) and isinstance(other, Ref):
            return one_batch(one) == one_batch(other)
        return type(one) is type(other) and bool(one == other)

    def transposed(self, term: Any) -> Any:
        return transposed(term) if isinstance(term, Ref) and len(term.size) > 1 else None


def _is_default(argument: Any, value: Any) -> bool:
    return argument.has_default_value() and type(argument.default_value) is type(value) and argument.default_value == value


def transposed(ref: Ref) -> Ref:
    """The transpose of the last two dimensions, as a window."""
    size, stride = list(ref.size), list(ref.stride)
    size[-2:], stride[-2:] = size[-2:][::-1], stride[-2:][::-1]
    return Ref(ref.value, tuple(size), tuple(stride), ref.offset, ref.dtype)


def one_batch(ref: Ref) -> Ref:
    """A batch of matrices with one dimension in the place of several that lie one after the other, as `bmm` has it."""
    size, stride = ref.size[:-2], ref.stride[:-2]
    if len(size) < 2 or any(a != b * n for a, b, n in zip(stride, stride[1:], size[1:], strict=False)):
        return ref
    return Ref(ref.value, (math.prod(size), *ref.size[-2:]), (stride[-1], *ref.stride[-2:]), ref.offset, ref.dtype)
