"""Fewer passes over memory: factors and summands that are one number move through sums, products and squares.

The log density of a normal prior of a million weights takes eight operators, each of which reads and writes a million numbers.
As :math:`a x + b` with two numbers a and b it is a square and a sum; only where another operator needs it is it computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.operators import running_averages
from sursum.compiler.graph.cse import merge_equal_nodes
from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, Node, Ref, Value, map_refs, refs_of
from sursum.training.folding import acts

aten = torch.ops.aten

_PRODUCTS = {aten.mul.Tensor: 1, aten.mul.Scalar: 1, aten.div.Tensor: -1, aten.div.Scalar: -1}
_SUMS = {aten.add.Tensor: 1.0, aten.add.Scalar: 1.0, aten.sub.Tensor: -1.0, aten.sub.Scalar: -1.0}
_TOTALS = {aten.sum.default, aten.sum.dim_IntList}


@dataclass(frozen=True)
class _AffineMap:
    """A value that is `factor` times another, plus `shift`."""

    factor: float
    shift: float
    of: int

    @property
    def usable(self) -> bool:
        return isfinite(self.factor) and isfinite(self.shift) and self.factor != 0.0


def simplify(graph: Graph) -> Graph:
    """`graph` with scalar factors and summands computed where they are needed, and not where they are written."""
    pass_ = _Pass(graph)
    for node in graph.nodes:
        pass_.node(node)
    outputs = tuple(pass_.made(ref) for ref in graph.outputs)
    guards = tuple(replace(guard, ref=pass_.made(guard.ref)) for guard in graph.guards)
    changed = replace(graph, values=pass_.values, nodes=tuple(pass_.nodes), guards=guards, outputs=outputs)
    return merge_equal_nodes(eliminate_dead_code(changed, acts))


class _Pass:
    def __init__(self, graph: Graph) -> None:
        self.values: dict[int, Value] = dict(graph.values)
        self.nodes: list[Node] = []
        self._constants = graph.constants
        self._written = running_averages(graph.nodes) | {write.window.value for node in graph.nodes for write in node.writes}
        self._forms: dict[int, _AffineMap] = {}
        self._made: dict[int, int] = {}
        self._shapes: dict[int, Ref] = {}  # value → its whole window, as its operator made it
        self._next = max(graph.values, default=0) + 1

    def node(self, node: Node) -> None:
        """Add an operator, changed or not."""
        out = node.outputs[0] if len(node.outputs) == 1 else None
        if out is not None and not node.writes and out.value not in self._written and out.dtype.is_floating_point:
            self._shapes[out.value] = out
            if all(ref.dtype is out.dtype for ref in refs_of(node)) and self._rewrite(node, out):
                return
        self.nodes.append(replace(node, args=map_refs(node.args, self.made), kwargs=map_refs(node.kwargs, self.made)))

    def made(self, ref: Ref) -> Ref:
        """The same numbers, computed now if they are not."""
        form = self._forms.get(ref.value)
        if form is None:
            return ref
        if form.factor == 1.0 and form.shift == 0.0:
            return replace(ref, value=form.of)
        if ref.value not in self._made:
            whole = self._shapes[ref.value]
            value = form.of
            for op, number, idle in ((aten.mul.Tensor, form.factor, 1.0), (aten.add.Tensor, form.shift, 0.0)):
                if number != idle:
                    value = self._compute(op, replace(whole, value=value), number)
            self._made[ref.value] = value
        return replace(ref, value=self._made[ref.value])

    def _compute(self, op: Any, source: Ref, number: float) -> int:
        value, self._next = self._next, self._next + 1
        self.values[value] = replace(self.values[source.value], id=value)
        self.nodes.append(Node(op, (source, number), {}, (replace(source, value=value),), (), self._where))
        return value

    def _rewrite(self, node: Node, out: Ref) -> bool:
        """Whether an operator has been expressed by the operands of its operands."""
        self._where = node.where
        op, args = node.op, node.args
        if op is aten.neg.default:
            return self._scale(args[0], out, -1.0, 0.0)
        if op is aten.pow.Tensor_Scalar and args[1] == 1:
            return self._scale(args[0], out, 1.0, 0.0)
        if op is aten.pow.Tensor_Scalar and args[1] == 2:
            form = self._form(args[0])
            return form.shift == 0.0 and self._again(node, (self._core(args[0]), 2), out, form.factor**2, 0.0)
        if op in _TOTALS and not node.kwargs:
            form = self._form(args[0])
            count = prod(args[0].size) / max(prod(out.size), 1)
            return self._again(node, (self._core(args[0]), *args[1:]), out, form.factor, form.shift * count)
        if op in _PRODUCTS and not node.kwargs:
            return self._product(node, out, _PRODUCTS[op])
        if op in _SUMS and not set(node.kwargs) - {"alpha"}:
            return self._sum(node, out, _SUMS[op] * float(node.kwargs.get("alpha", 1)))
        return False

    def _product(self, node: Node, out: Ref, power: int) -> bool:
        first, second = node.args
        number = self._number(second)
        if number is not None and isinstance(first, Ref) and first.size == out.size and number != 0.0:
            return self._scale(first, out, number**power, 0.0)
        number = self._number(first) if power == 1 else None
        if number is not None and isinstance(second, Ref) and second.size == out.size and number != 0.0:
            return self._scale(second, out, number, 0.0)
        if not isinstance(first, Ref) or not isinstance(second, Ref):
            return False
        one, two = self._form(first), self._form(second)
        if one.shift or two.shift or (one.factor == two.factor == 1.0):
            return False
        return self._again(node, (self._core(first), self._core(second)), out, one.factor * two.factor**power, 0.0)

    def _sum(self, node: Node, out: Ref, sign: float) -> bool:
        first, second = node.args[:2]
        number = self._number(second)
        if number is not None and isinstance(first, Ref) and first.size == out.size:
            return self._scale(first, out, 1.0, sign * number)
        number = self._number(first)
        if number is not None and isinstance(second, Ref) and second.size == out.size:
            return self._scale(second, out, sign, number)
        if not isinstance(first, Ref) or not isinstance(second, Ref):
            return False
        one, two = self._form(first), self._form(second)
        ratio = sign * two.factor / one.factor
        if not isfinite(ratio) or ratio == 0.0:
            return False
        cores = self._core(first), self._core(second)
        changed = replace(node, op=aten.add.Tensor, kwargs={} if ratio == 1.0 else {"alpha": ratio})
        return self._again(changed, cores, out, one.factor, one.shift + sign * two.shift)

    def _scale(self, source: Ref, out: Ref, factor: float, shift: float) -> bool:
        """`out` as a multiple of what `source` is a multiple of, if both lie in memory alike."""
        form = self._form(source)
        whole = self._whole(source)
        found = _AffineMap(form.factor * factor, form.shift * factor + shift, form.of)
        if not found.usable or whole is None or (whole.size, whole.stride, whole.offset) != (out.size, out.stride, out.offset):
            return False
        if self.values[form.of].numel != self.values[out.value].numel:
            return False
        self._forms[out.value] = found
        return True

    def _whole(self, ref: Ref) -> Ref | None:
        """The window itself, if it is on a value that never changes."""
        return None if ref.value in self._written else ref

    def _again(self, node: Node, args: tuple[Any, ...], out: Ref, factor: float, shift: float) -> bool:
        """The same operator on other operands, of which `out` is a multiple."""
        value = self._next
        found = _AffineMap(factor, shift, value)
        if not found.usable:
            return False
        self._next += 1
        self.values[value] = replace(self.values[out.value], id=value)
        self.nodes.append(replace(node, args=args, outputs=(replace(out, value=value),)))
        self._forms[out.value] = found
        self._shapes[value] = replace(out, value=value)
        return True

    def _form(self, ref: Ref) -> _AffineMap:
        return self._forms.get(ref.value) or _AffineMap(1.0, 0.0, ref.value)

    def _core(self, ref: Ref) -> Ref:
        return replace(ref, value=self._form(ref).of)

    def _number(self, item: Any) -> float | None:
        """A number, or a constant that is one number everywhere."""
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            return float(item)
        constant: Tensor | None = self._constants.get(item.value) if isinstance(item, Ref) else None
        if constant is None or constant.numel() != 1 or item.value in self._written:
            return None
        found = float(constant)
        return found if isfinite(found) else None
