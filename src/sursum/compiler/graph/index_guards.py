"""Check every computed index: out of bounds the density is −∞, and nothing is read or written outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, Value, Where, is_inner, made_by, read_by, refs_of
from sursum.compiler.graph.guard_elimination import eliminate_proved_guards
from sursum.compiler.graph.indexed_operators import Places, family, places_of
from sursum.compiler.graph.integer_ranges import Range, Ranges
from sursum.compiler.graph.windows import contiguous, numel_of

aten = torch.ops.aten

#: What makes integers of floating numbers.
_CASTS = frozenset(("_to_copy", "copy"))


def check_indices(graph: Graph, inputs: Callable[[Ref], Range | None] = lambda ref: None) -> Graph:
    r"""`graph` with a guard for every computed index, and a valid index where the guard fails.

    .. math:: i \;\to\; \begin{cases} i & i \in \{a, \dots, b - 1\} \\ 0 & \text{else, and then } \log p = -\infty\end{cases}

    Reads and writes are in bounds even if guards are ignored, as in graphs that are run at draws. The floats from which such
    an index is computed must fit 64-bit integers after truncation: a NaN becomes a machine-dependent number. An index that is
    proved to be in bounds is left unchanged, and so are constants, which were in bounds when the program was run. The graphs
    of scans are treated likewise.

    Args:
        graph: after constant folding.
        inputs: the range of a window on the graph's input, if known.
    """
    return _checked(graph, inputs)[0]


def _checked(graph: Graph, inputs: Callable[[Ref], Range | None]) -> tuple[Graph, list[Ref]]:
    """The result of `check_indices`, and the windows on the input whose ranges were relied on."""
    if not any(is_inner(node.op) or _has_computed_indices(node, graph) for node in graph.nodes):
        return graph, []
    writer = _GuardWriter(graph, inputs)
    for node in graph.nodes:
        writer.add(node)
    guards, assumed = (*writer.guards, *graph.guards), (*graph.assumed, *writer.ranges.assumed)
    checked = replace(graph, values=writer.values, nodes=tuple(writer.nodes), guards=guards, assumed=assumed)
    return checked, writer.ranges.used_inputs


def _has_computed_indices(node: Node, graph: Graph) -> bool:
    return any(index.value not in graph.constants for _, _, index, _ in places_of(node))


class _GuardWriter:
    def __init__(self, graph: Graph, inputs: Callable[[Ref], Range | None]) -> None:
        self.graph, self.values = graph, dict(graph.values)
        self.nodes: list[Node] = []
        self.guards: list[Guard] = []
        self.ranges = Ranges(graph, inputs)
        self.varying = {graph.input}
        self.next = max(graph.values, default=0) + 1
        self.checked: dict[tuple[Ref, Places], Ref] = {}
        self.cast: set[Ref] = set()
        self.makers: dict[int, Node] = {}

    def add(self, node: Node) -> None:
        """A node, after the checks of its indices."""
        if is_inner(node.op):
            parts = self._parts(node)
            step, used = _checked(node.op.graph, lambda window: next((known for _, known in parts(window)), None))
            for window in used:
                for ref, _ in parts(window):
                    self.ranges.use(ref)
            node = replace(node, op=node.op.with_graph(eliminate_dead_code(eliminate_proved_guards(step))))
        elif not self.varying.isdisjoint(read_by(node)):
            node = self._checked(node)
        if any(ref.value in self.varying for ref in refs_of(node)):
            self.varying.update(made_by(node))
        self.ranges.learn(node)
        self.makers.update(dict.fromkeys(made_by(node), node))
        self.nodes.append(node)

    def _checked(self, node: Node) -> Node:
        found = [item for item in places_of(node) if item[2].value in self.varying and numel_of(item[2])]
        for argument, number, index, places in found:
            safe = self._safe(index, places, node.where)
            if safe is not index:
                node = _with_index(node, argument, number, safe)
        return node

    def _safe(self, index: Ref, places: Places, where: Where) -> Ref:
        """`index`, or a tensor that equals it where it is in bounds."""
        known = self.ranges.of(index)
        low, high = known or (-math.inf, math.inf)
        if low >= places.low and high < places.high:
            self.ranges.use(index)
            return index
        made = self.checked.get((index, places))
        if made is None:
            for number in self._casts(index):
                self._check_cast(number, where)
            made = self.checked[index, places] = self._check(index, places, where)
        return made

    def _casts(self, index: Ref) -> list[Ref]:
        """The floats from which an index is computed, where they become integers."""
        found: dict[Ref, None] = {}
        seen: set[int] = set()
        stack = [index.value]
        while stack:
            value = stack.pop()
            node = self.makers.get(value)
            if value in seen or node is None or is_inner(node.op):
                continue
            seen.add(value)
            for ref in refs_of(node):
                if not ref.dtype.is_floating_point:
                    stack.extend([ref.value] if ref.dtype is not torch.bool else [])
                elif family(node) in _CASTS and self.ranges.use(ref) is None:
                    found[ref] = None
        return list(found)

    def _check_cast(self, number: Ref, where: Where) -> None:
        """Guard the conversion: a NaN, or a number too large for an integer, converts to a machine-dependent one."""
        if number in self.cast or number.value not in self.varying:
            return
        self.cast.add(number)
        size = self._node(aten.abs.default, (number,), number.dtype, number.size, where)
        self.guards.append(Guard(self._node(aten.lt.Scalar, (size, 2.0**63), torch.bool, number.size, where), "true", where))

    def _check(self, index: Ref, places: Places, where: Where) -> Ref:
        # An element that is expanded in memory is checked once.
        small = Ref(index.value, tuple(1 if s == 0 else n for n, s in zip(index.size, index.stride, strict=True)),
                    index.stride, index.offset, index.dtype)  # fmt: skip
        below = self._node(aten.lt.Scalar, (small, places.low), torch.bool, small.size, where)
        above = self._node(aten.ge.Scalar, (small, places.high), torch.bool, small.size, where)
        wrong = self._node(aten.bitwise_or.Tensor, (below, above), torch.bool, small.size, where)
        if places.also is not None:
            other = self._node(aten.ne.Scalar, (small, places.also), torch.bool, small.size, where)
            wrong = self._node(aten.bitwise_and.Tensor, (wrong, other), torch.bool, small.size, where)
        self.guards.append(Guard(wrong, "zero", where))
        made = self._node(aten.masked_fill.Scalar, (small, wrong, places.inside), index.dtype, small.size, where)
        stride = tuple(0 if s == 0 else t for s, t in zip(index.stride, made.stride, strict=True))
        return replace(made, size=index.size, stride=stride)

    def _node(self, op: Any, args: Sequence[Any], dtype: torch.dtype, size: tuple[int, ...], where: Where) -> Ref:
        value = Value(self.next, math.prod(size), dtype)
        self.next += 1
        self.values[value.id] = value
        output = Ref(value.id, size, contiguous(size), 0, dtype)
        self.nodes.append(Node(op, tuple(args), {}, (output,), (), where))
        return output

    def _parts(self, node: Node) -> Callable[[Ref], list[tuple[Ref, Range]]]:
        """For windows on the input vector of a loop's step, what they are windows on, and its range, if that is known."""
        op: Any = node.op
        known: list[tuple[int, int, Ref, Range]] = []
        for parts, refs in zip((op.each, op.fixed), node.args[1:3], strict=True):
            for part, ref in zip(parts, refs, strict=True):
                found = self.ranges.of(ref)
                if found is not None:
                    known.append((part.start, part.stop, ref, found))

        def of(window: Ref) -> list[tuple[Ref, Range]]:
            end = window.offset + sum(s * (n - 1) for s, n in zip(window.stride, window.size, strict=True))
            return [(ref, found) for start, stop, ref, found in known if start <= window.offset and end < stop]

        return of


def _with_index(node: Node, argument: str, number: int | None, index: Ref) -> Node:
    """`node` with a different index."""
    position = [a.name for a in node.op._schema.arguments].index(argument)
    kwargs: Mapping[str, Any] = node.kwargs
    old = node.args[position] if position < len(node.args) else kwargs[argument]
    new: Any = index if number is None else [index if k == number else item for k, item in enumerate(old)]
    if position < len(node.args):
        return replace(node, args=(*node.args[:position], new, *node.args[position + 1 :]))
    return replace(node, kwargs={**kwargs, argument: new})
