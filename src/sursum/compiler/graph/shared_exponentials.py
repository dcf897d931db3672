r"""The derivative of a logarithm of a sum of exponentials takes the exponentials of the sum.

.. math:: \exp\Bigl(x_i - \log \sum_j e^{x_j}\Bigr) = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad m = \max_j x_j,

so a mixture needs an exponential for each component, and not two. Where the largest is +∞ the weights of other terms above
709.78 are NaN, where torch has 0; the sum is infinite there, and no density.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from sursum.compiler.graph.graph import Graph, Node, Ref, Value, refs_of
from sursum.compiler.graph.patterns import NodeTerms
from sursum.compiler.graph.windows import same_geometry
from sursum.compiler.rules import Rule, Var, apply_first, op

aten = torch.ops.aten


def share_exponentials(graph: Graph) -> Graph:
    """`graph` in which each logsumexp whose weights are wanted is written out, and they are a quotient of its parts."""
    sums = {node.outputs[0].value: node for node in graph.nodes if node.op is aten.logsumexp.default and node.outputs[0]}
    if not sums:
        return graph
    found, terms = _Sums(sums), NodeTerms({})
    weights: dict[int, tuple[int, Node]] = {}  # exponentials that are the weights of a sum
    for node in graph.nodes:
        for output in node.outputs:
            if output is not None and not node.writes:
                terms.makers[output.value] = node
        output = node.outputs[0] if node.outputs else None
        total = None if output is None else apply_first(EXPONENTIALS, found, output, terms)
        if output is not None and total is not None:
            weights[output.value] = total, node
    if not weights:
        return graph
    made, totals = _Written(dict(graph.values)), {total for total, _ in weights.values()}
    nodes: list[Node] = []
    parts: dict[int, tuple[Ref, Ref]] = {}
    for node in graph.nodes:
        first = node.outputs[0].value if node.outputs and node.outputs[0] is not None else -1
        if first in totals:
            written, parts[first] = made.sum(node)
            nodes += written
        elif first in weights:
            nodes.append(replace(node, op=aten.mul.Tensor, args=parts[weights[first][0]], kwargs={}))
        else:
            nodes.append(node)
    return replace(graph, values=made.values, nodes=tuple(nodes))


@dataclass(frozen=True)
class _Sums:
    """The logsumexps of a graph, by the values that they make."""

    nodes: Mapping[int, Node]

    def weighs(self, x: Any, total: Any) -> bool:
        """Whether `total` is the sum over x, along dimensions that it is spread over again."""
        node = self.nodes.get(total.value) if isinstance(total, Ref) and isinstance(x, Ref) else None
        if node is None or refs_of(node)[0] != x or 0 in x.size:  # of nothing there is no largest
            return False
        made = node.outputs[0]
        assert made is not None
        return same_geometry(total, _kept(made, _dims(node), len(x.size), _keeps(node))) and total.offset == made.offset


EXPONENTIALS: Sequence[Rule[_Sums, int]] = (
    Rule(
        "exp(x − log Σ exp x) = exp(x − m) / Σ exp(x − m)",
        op("exp", op("sub", Var("x"), Var("total"))),
        guard=lambda sums, b: sums.weighs(b["x"], b["total"]),
        replacement=lambda sums, b: int(b["total"].value),
    ),
)


def _dims(node: Node) -> list[int]:
    x, dims = refs_of(node)[0], node.args[1]
    return sorted(dim % len(x.size) for dim in ([dims] if isinstance(dims, int) else dims)) if x.size else []


def _keeps(node: Node) -> bool:
    return bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False))


def _kept(made: Ref, dims: Sequence[int], rank: int, keeps: bool) -> Ref:
    """A result with the dimensions that were summed over, of size 1."""
    if keeps:
        return made
    size, stride = list(made.size), list(made.stride)
    for dim in dims if rank else ():
        size.insert(dim, 1)
        stride.insert(dim, 0)
    return replace(made, size=tuple(size), stride=tuple(stride))


@dataclass
class _Written:
    """New nodes, and the values that they make."""

    values: dict[int, Value]
    nodes: list[Node] = field(default_factory=list)
    next: int = field(init=False)

    def __post_init__(self) -> None:
        self.next = max(self.values) + 1

    def sum(self, node: Node) -> tuple[list[Node], tuple[Ref, Ref]]:
        """A logsumexp written out; and the exponentials above the largest, and the reciprocal of their sum.

        The sum is at least one, or 0, infinite or NaN, where a product with its reciprocal is what a quotient is.
        """
        self.nodes = []
        x, dims, out = refs_of(node)[0], _dims(node), node.outputs[0]
        assert out is not None
        wide = _kept(out, dims, len(x.size), _keeps(node))
        largest = self.call(node, aten.amax.default, (x, dims, True), wide.size)
        size = self.call(node, aten.abs.default, (largest,), wide.size)
        infinite = self.call(node, aten.eq.Scalar, (size, math.inf), wide.size, torch.bool)
        start = self.call(node, aten.masked_fill.Scalar, (largest, infinite, 0.0), wide.size)
        away = self.call(node, aten.sub.Tensor, (x, start), x.size)
        exponentials = self.call(node, aten.exp.default, (away,), x.size)
        total = self.call(node, aten.sum.dim_IntList, (exponentials, dims, True), wide.size)
        logarithm = self.call(node, aten.log.default, (total,), wide.size)
        inverse = self.call(node, aten.reciprocal.default, (total,), wide.size)
        narrow = [replace(ref, size=out.size, stride=_without(ref, dims, _keeps(node))) for ref in (logarithm, start)]
        self.nodes.append(Node(aten.add.Tensor, tuple(narrow), {}, (out,), (), node.where))
        return self.nodes, (exponentials, inverse)

    def call(self, node: Node, op: Any, args: tuple[Any, ...], size: tuple[int, ...], dtype: Any = None) -> Ref:
        """A node that makes a new value, of the next number."""
        dtype = refs_of(node)[0].dtype if dtype is None else dtype
        value = Value(self.next, math.prod(size), dtype)
        self.values[value.id] = value
        self.next += 1
        made = Ref(value.id, tuple(size), _contiguous(size), 0, dtype)
        self.nodes.append(Node(op, args, {}, (made,), (), node.where))
        return made


def _contiguous(size: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(size[k + 1 :]) for k in range(len(size)))


def _without(ref: Ref, dims: Sequence[int], keeps: bool) -> tuple[int, ...]:
    return tuple(stride for k, stride in enumerate(ref.stride) if keeps or k not in dims)
