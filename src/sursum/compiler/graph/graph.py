"""The captured graph: a density as values and operators, free of handlers and of Python.

A *value* is one version of one storage; a tensor is a window on a value: (value, size, stride, offset). So views cost
nothing, and an operator that writes to a tensor simply makes the next version of its storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor

from sursum.common.torch_private import OpOverload
from sursum.compiler.graph.assumption import Assumption
from sursum.compiler.show import show_graph, show_ref


@dataclass(frozen=True, slots=True)
class Value:
    """One version of one storage: `numel` elements of `dtype`."""

    id: int
    numel: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor: the window (size, stride, offset) on the value with this id. Strides and offset count elements."""

    value: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return show_ref(self)


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a node through `window`, a window on an old version; `value` is the new version."""

    window: Ref
    value: int


@dataclass(frozen=True, slots=True)
class Where:
    """The site that was being scored, if any, and the line of the program from which an operator came."""

    site: str | None
    line: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """One ATen operator that computes (or an `Inner` one, which has the same attributes).

    `args` and `kwargs` are those of the call, with a `Ref` for every tensor (also inside lists and tuples).
    `outputs` has an entry for every result: a `Ref` for a tensor, None for anything else. A mutable operator
    also has `writes`: its arguments refer to the old versions, its outputs to the new ones.
    """

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Ref | None, ...]
    writes: tuple[Write, ...]
    where: Where
    _reads: tuple[Ref, ...] | None = field(init=False, repr=False, compare=False, default=None)
    _read_by: tuple[int, ...] | None = field(init=False, repr=False, compare=False, default=None)
    _makes: tuple[int, ...] | None = field(init=False, repr=False, compare=False, default=None)


class Folding(Protocol):
    """How the constants of a graph are computed of those of its recording."""

    def again(self, recorded: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """The constants, of other recorded ones.

        Raises:
            CaptureError: a check on data alone fails.
        """


class Inner(Protocol):
    """An operator that is not torch's but contains a graph, run many times: the step of a loop."""

    @property
    def graph(self) -> Graph:
        """What is run, a function of one vector of doubles."""

    def with_graph(self, graph: Graph) -> Any:
        """This operator in double precision, with `graph` instead of its own."""


def is_inner(op: Any) -> TypeGuard[Inner]:
    """Whether an operator is an `Inner` one; a protocol check would take 30 µs per node."""
    return not isinstance(op, OpOverload)


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on which the density exists: `ref` holds True everywhere (`kind` "true") or 0 everywhere ("zero").

    Where a guard fails the log density is −∞.
    """

    ref: Ref
    kind: str
    where: Where


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order in which they ran, in single-assignment form.

    `input` is the value of q ∈ Rⁿ; `constants` holds, for every value that no node makes, its storage as a 1-d tensor.
    `outputs` are the tensors asked for: log density and gradient, or whatever a capture was made of. `assumed` is what
    passes have used of the numbers of constants, and `folding` how these constants are computed of those that were recorded.
    """

    values: Mapping[int, Value]
    input: int
    constants: Mapping[int, Tensor]
    nodes: tuple[Node, ...]
    guards: tuple[Guard, ...]
    outputs: tuple[Ref, ...]
    assumed: tuple[Assumption, ...] = ()
    folding: Folding | None = None

    def __str__(self) -> str:
        return show_graph(self)


def has_inner(nodes: Iterable[Node]) -> bool:
    """Whether any of these is an `Inner` operator."""
    return any(map(is_inner, operators_of(nodes)))


def map_refs(tree: Any, change: Callable[[Ref], Any]) -> Any:
    """`tree`, a node's arguments or part of them, with every `Ref` replaced by `change(ref)`."""
    if isinstance(tree, Ref):
        return change(tree)
    if tree is None or isinstance(tree, (int, float)):  # most of what there is: asked before the slow Mapping
        return tree
    if isinstance(tree, (list, tuple)):
        return type(tree)([change(item) if type(item) is Ref else map_refs(item, change) for item in tree])
    if not tree and type(tree) is dict:
        return {}
    if isinstance(tree, Mapping):
        return {key: map_refs(item, change) for key, item in tree.items()}
    return tree


def arguments_of(node: Node) -> dict[str, Any]:
    """The arguments of a node by their names in its schema, defaults included."""
    arguments = node.op._schema.arguments
    found = {a.name: a.default_value for a in arguments if a.has_default_value()}
    return found | {a.name: x for a, x in zip(arguments, node.args, strict=False)} | dict(node.kwargs)


def refs_of(node: Node) -> tuple[Ref, ...]:
    """Every tensor that `node` reads, in order; found once, since every pass asks for it."""
    if node._reads is not None:
        return node._reads
    found: list[Ref] = []
    for item in (*node.args, *node.kwargs.values()) if node.kwargs else node.args:
        if isinstance(item, Ref):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            _collect(item, found)
    object.__setattr__(node, "_reads", tuple(found))
    return tuple(found)


def read_by(node: Node) -> tuple[int, ...]:
    """The values that `node` reads; found once."""
    if node._read_by is not None:
        return node._read_by
    found = tuple([ref.value for ref in refs_of(node)])
    object.__setattr__(node, "_read_by", found)
    return found


def operators_of(nodes: Iterable[Node]) -> Iterable[Any]:
    """The different operators of these nodes: torch reads a schema anew, and hashes an operator in Python, each time."""
    return {id(node.op): node.op for node in nodes}.values()


def made_by(node: Node) -> tuple[int, ...]:
    """The values that `node` makes; found once, as what it reads is."""
    if node._makes is not None:
        return node._makes
    found = [output.value for output in node.outputs if output is not None]
    made = (*found, *[write.value for write in node.writes]) if node.writes else tuple(found)
    object.__setattr__(node, "_makes", made)
    return made


def _collect(item: Any, found: list[Ref]) -> None:
    if isinstance(item, Ref):
        found.append(item)
    elif isinstance(item, (list, tuple)):
        for part in item:
            _collect(part, found)
