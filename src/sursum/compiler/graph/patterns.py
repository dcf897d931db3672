"""Tensors of a graph, as patterns see them: by the nodes that made them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
        self._schemas: dict[int, _Schema] = {}  # by id of the operator: torch reads a schema anew each time

    def parts(self, term: Any, names: tuple[str, ...], count: int) -> tuple[tuple[Any, ...], Mapping[str, Any]] | None:
        node = self.makers.get(term.value) if isinstance(term, Ref) else None
        if node is None or not node.outputs or node.outputs[0] is None or not self.same(node.outputs[0], term):
            return None
        if is_inner(node.op) or node.writes:
            return None
        schema = self._schemas.get(id(node.op))
        if schema is None:
            schema = self._schemas[id(node.op)] = _Schema.of(node.op)
        if schema.name not in names or len(schema.arguments) < count:
            return None
        given = dict(zip(schema.arguments, node.args, strict=False)) | dict(node.kwargs)
        values = [given.get(name, schema.defaults.get(name)) for name in schema.arguments[:count]]
        others = {name: given[name] for name in schema.arguments[count:] if name in given}
        return tuple(values), {name: value for name, value in others.items() if not schema.is_default(name, value)}

    def same(self, one: Any, other: Any) -> bool:
        if isinstance(one, Ref) and isinstance(other, Ref):
            return one_batch(one) == one_batch(other)
        return type(one) is type(other) and bool(one == other)

    def transposed(self, term: Any) -> Any:
        return transposed(term) if isinstance(term, Ref) and len(term.size) > 1 else None


@dataclass(frozen=True)
class _Schema:
    """What patterns ask of an operator: its name without namespace, and its arguments, of which some have defaults."""

    op: Any  # kept alive: it is known by its id
    name: str
    arguments: tuple[str, ...]
    defaults: Mapping[str, Any]

    @classmethod
    def of(cls, op: Any) -> _Schema:
        arguments = op._schema.arguments
        defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
        return cls(op, op._schema.name.removeprefix("aten::"), tuple(a.name for a in arguments), defaults)

    def is_default(self, name: str, value: Any) -> bool:
        if name not in self.defaults:
            return False
        return type(self.defaults[name]) is type(value) and bool(self.defaults[name] == value)


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
