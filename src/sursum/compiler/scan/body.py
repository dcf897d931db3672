"""The body of a scan as a graph: one step, recorded as a program is, below autograd and with a value for every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import OpOverload
from sursum.compiler.capture.decompositions import Decomposition
from sursum.compiler.capture.derivatives import exact
from sursum.compiler.capture.mask_indexing import is_mask
from sursum.compiler.capture.operators import Operator, results_of
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.compare import difference
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, Value, Where, refs_of
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.scan.mapping import is_composite, mappable
from sursum.core.messages import Site
from sursum.core.scope import current_site

aten = torch.ops.aten

_NOWHERE = Where(None, None)


class Unrollable(Exception):
    """Why a scan cannot be run as one step for all: it is run step by step then."""


@dataclass(frozen=True)
class ScanBody:
    """One step as a graph of the carry, of what differs between steps, and of what is fixed.

    `carry` are the values of the carry, in order; `rows` holds, for a value that differs between steps, the tensor of all of
    them; `fixed` what comes from outside and is the same in every step; `sites` the site of each node. Every guard holds in
    every step that is valid.
    """

    graph: Graph
    carry: tuple[int, ...]
    rows: Mapping[int, Tensor]
    fixed: Mapping[int, Tensor]
    sites: tuple[Site | None, ...]

    @property
    def outputs(self) -> list[int]:
        """The values of the outputs."""
        return [ref.value for ref in self.graph.outputs]

    def varying(self) -> Iterator[Node]:
        """The nodes that compute something else in each step."""
        found = {*self.carry, *self.rows}
        for node in self.graph.nodes:
            if not found.isdisjoint([ref.value for ref in refs_of(node)]):
                found.update(ref.value for ref in node.outputs if ref is not None)
                yield node

    def check_same(self, other: ScanBody) -> None:
        """Raise Unrollable where two steps are not one graph."""
        found = difference(self.graph, other.graph)
        if found is not None or self.carry != other.carry:
            raise Unrollable(f"the second step behaves differently from the first{'' if found is None else found.place}")
        for mine, others in ((self.rows, other.rows), (self.fixed, other.fixed)):
            if mine.keys() != others.keys():
                raise Unrollable("the second step reads other tensors than the first")
            for value, tensor in mine.items():
                if tensor is not others[value] and not same_bits(tensor.detach(), others[value].detach()):
                    raise Unrollable("a number in the second step differs from that in the first, and is not from xs")


class BodyRecorder(Recorder):
    """Records a step. Here every tensor is a value of its own, and views are operators, so that each can be mapped.

    A tensor is known by its identity, or, where autograd made another object of it, by its memory.

    Arguments:
        differentiates: the step has a gradient taken in it, by autograd: then grad mode is off in parts.
    """

    def __init__(self, *, differentiates: bool = False) -> None:
        super().__init__(None, _site)
        self.stopped: Unrollable | None = None
        self.refused = False  # a check of arguments failed: the step is about to raise, and says why
        self._grad = torch.is_grad_enabled() and not differentiates
        self._ids: dict[int, Value] = {}
        self._windows: dict[Any, Value] = {}
        self._alive: list[Tensor] = []
        self._carry: list[int] = []
        self._rows: dict[int, Tensor] = {}
        self._unchanging: dict[int, Tensor] = {}
        self._sites: list[Site | None] = []
        self._made: dict[int, Node] = {}

    def carry(self, tensor: Tensor) -> Tensor:
        """Enters a part of the carry."""
        self._carry.append(self.enter(tensor))
        return tensor

    def row(self, tensor: Tensor, whole: Tensor) -> Tensor:
        """Enters a tensor that is one row of `whole` in each step."""
        self._rows[self.enter(tensor)] = whole
        return tensor

    def fixed(self, tensor: Tensor, outside: Tensor) -> Tensor:
        """Enters a tensor that stands for `outside` in every step."""
        self._unchanging[self._new_value(tensor, "", _NOWHERE).id] = outside
        return tensor

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor was entered or made in this step."""
        value = self._known(tensor)
        return value is not None and value.id not in self._unchanging

    def value(self, tensor: Tensor) -> int:
        """The value that a tensor is; one that is not known comes from outside."""
        return self._ref(tensor).value

    def body(self, outputs: Sequence[Tensor]) -> ScanBody:
        """The step, with these outputs.

        Raises:
            Unrollable: it is not the same in every step.
        """
        if self.stopped is not None:  # the body may have swallowed it
            raise self.stopped
        if self.refused:
            raise Unrollable("it continues after a check of arguments that failed")
        refs = tuple(map(self._ref, outputs))
        graph = Graph(self._values, -1, {}, tuple(self._nodes), tuple(self._guards), refs)
        return ScanBody(graph, tuple(self._carry), self._rows, self._unchanging, tuple(self._sites))

    # What the recorder asks -------------------------------------------------------------------------------------------

    def run(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            return self._record(op, exact(op, args), kwargs)
        except Unrollable as reason:
            self.stopped = self.stopped or reason
            raise

    def _record(self, op: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        facts, parts, _ = self._facts_of(op)
        if self.refused or facts.lifts or op is aten.detach_.default:
            return op(*args, **kwargs)
        where = self._where()
        reads: list[Ref] = []
        node_args = tuple([self._refs(item, reads, facts, where) for item in args])
        node_kwargs = {key: self._refs(item, reads, facts, where) for key, item in kwargs.items()}
        varying = not self._traced.isdisjoint([ref.value for ref in reads])
        if facts.looks:
            return self._judge(op(*args, **kwargs), args[0], reads[0], varying, where)
        self._refuse_step(facts, args, kwargs, varying, _at_site(where))
        if varying and parts is not None:
            with self:
                return parts(*args, **kwargs)
        out = op(*args, **kwargs)
        outputs: list[Ref | None] = []
        for item in results_of(out):
            outputs.append(None)
            if isinstance(item, Tensor):
                value = self._new_value(item, facts.name, where)
                outputs[-1] = self._window(item, value, facts.name, where)
                if varying:
                    self._traced.add(value.id)
        node = Node(op, node_args, node_kwargs, tuple(outputs), (), where)
        self._nodes.append(node)
        self._sites.append(current_site())
        self._made.update((ref.value, node) for ref in outputs if ref is not None)
        return out

    def _refuse_step(self, facts: Operator, args: Sequence[Any], kwargs: Mapping[str, Any], varying: bool, here: str) -> None:
        """Raise Unrollable at an operator that no step may use that stands for all."""
        if facts.written:
            raise Unrollable(f"{facts.name} writes into a tensor{here}")
        if facts.draws(args, kwargs):
            raise Unrollable(f"{facts.name} draws at random{here}")
        if varying and (any(map(is_mask, args[1])) if facts.indexes else facts.dynamic):
            raise Unrollable(f"the shape of what {facts.name} gives may differ between steps{here}")
        if varying and self._grad and not torch.is_grad_enabled():
            raise Unrollable(f"{facts.name} is run inside an autograd.Function or under no_grad{here}")

    def _judge(self, out: Any, looked: Any, ref: Ref, varying: bool, where: Where) -> Any:
        """What Python saw: of numbers that differ between steps it may look at checks of arguments only."""
        where = where if where.line is not None else Where(where.site, self._lines.current())
        node = self._made.get(ref.value)
        inner = None if node is None or looked.dtype is not torch.bool else next(iter(refs_of(node)), None)
        if inner is not None:
            name, validates = str(node.op), self._lines.in_validation()  # type: ignore[union-attr]
            if name.startswith("aten._is_all_true") or (validates and name == "aten.all.default"):
                self._guards.append(Guard(inner, "true", where))
                self.refused = not out
                return out
            if validates and name == "aten.any.default" and not out:
                self._guards.append(Guard(inner, "zero", where))
                return out
        if varying:
            raise Unrollable(f"Python reads a number that differs between steps{_at_site(where)}")
        return out

    def _where(self) -> Where:
        return _site()  # the line is asked for where something is checked

    def _decomposition(self, op: OpOverload) -> Decomposition | None:
        return op.decompose if is_composite(op) and not mappable(op) else None

    def _known(self, tensor: Tensor) -> Value | None:
        found = self._ids.get(id(tensor))
        return self._windows.get(_memory(tensor)) if found is None else found

    def _new_value(self, tensor: Tensor, name: str, where: Where) -> Value:
        value = Value(len(self._values), tensor.numel(), tensor.dtype)
        self._alive.append(tensor)
        self._values[value.id] = self._ids[id(tensor)] = self._windows[_memory(tensor)] = value
        return value

    def _from_outside(self, tensor: Tensor, name: str, where: Where) -> Value:
        value = self._new_value(tensor, name, where)
        self._unchanging[value.id] = tensor
        return value

    def _window(self, tensor: Tensor, value: Value, name: str, where: Where) -> Ref:
        return Ref(value.id, tuple(tensor.shape), contiguous(tensor.shape), 0, tensor.dtype)

    def _ref(self, tensor: Tensor) -> Ref:
        value = self._known(tensor) or self._from_outside(tensor, "", _NOWHERE)
        return self._window(tensor, value, "", _NOWHERE)


def _memory(tensor: Tensor) -> Any:
    try:
        memory = tensor.untyped_storage()._cdata
    except NotImplementedError as error:
        raise Unrollable("a tensor has no memory of its own") from error
    return memory, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _site() -> Where:
    site = current_site()
    return _NOWHERE if site is None else Where(site.name, site.where)


def _at_site(where: Where) -> str:
    return "" if where.site is None else place(where)
