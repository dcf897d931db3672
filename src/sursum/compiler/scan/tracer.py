"""The tracer: a dispatch mode that writes down the operators of one step, below autograd, as they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode
from sursum.common.user_frame import Lines
from sursum.compiler.capture.mask_indexing import is_mask
from sursum.compiler.capture.operators import Operator, results_of
from sursum.compiler.graph.compare import same_bits
from sursum.compiler.scan.mapping import is_composite, mappable
from sursum.core.messages import Site
from sursum.core.scope import current_site

aten = torch.ops.aten


class Unrollable(Exception):
    """Why a scan cannot be run as one step for all: it is run step by step then."""


@dataclass(frozen=True, slots=True)
class Slot:
    """In the place of a tensor in a trace."""

    id: int


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of a step: `function`, its arguments with a `Slot` for every tensor, and the slots that it fills."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[int | None, ...]
    site: Site | None

    def reads(self) -> Iterator[int]:
        """The slots that it reads."""
        yield from slots_of((self.args, self.kwargs))

    def reads_any(self, slots: set[int]) -> bool:
        """Whether it reads one of these slots."""
        return not slots.isdisjoint(self.reads())


@dataclass(frozen=True, slots=True)
class Check:
    """A look of Python at a slot that holds for every step that is valid: all true, or all zero."""

    slot: int
    true: bool
    place: str


@dataclass
class Trace:
    """One step: where its tensors come from, what is computed, what is checked.

    `carry` are the slots of the carry, in order; `rows` holds, for a slot that is another one in each step, the tensor of
    all steps; `fixed` what comes from outside and is the same in every step.
    """

    carry: list[int] = field(default_factory=list)
    rows: dict[int, Tensor] = field(default_factory=dict)
    fixed: dict[int, Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


class Tracer(TorchDispatchMode):
    """Records a step. A tensor is known by its identity, or, where autograd made another object of it, by its memory.

    Arguments:
        differentiates: the step has a gradient taken in it, by autograd: then grad mode is off in parts.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self, *, differentiates: bool = False) -> None:
        super().__init__()
        self.trace = Trace()
        self.failure: Unrollable | None = None
        self.refused = False  # a check of arguments failed: the step is about to raise, and says why
        self._grad = torch.is_grad_enabled() and not differentiates
        self._lines = Lines()
        self._operators: dict[Any, Operator] = {}
        self._ids: dict[int, int] = {}
        self._windows: dict[Any, int] = {}
        self._alive: list[Tensor] = []
        self.varying: set[int] = set()
        self._maker: dict[int, Call] = {}
        self._next = 0

    # Tensors ----------------------------------------------------------------------------------------------------------

    def carry(self, tensor: Tensor) -> Tensor:
        """Enters a part of the carry."""
        slot = self._enter(tensor)
        self.varying.add(slot)
        self.trace.carry.append(slot)
        return tensor

    def row(self, tensor: Tensor, whole: Tensor) -> Tensor:
        """Enters a tensor that is one row of `whole` in each step."""
        slot = self._enter(tensor)
        self.varying.add(slot)
        self.trace.rows[slot] = whole
        return tensor

    def fixed(self, tensor: Tensor, outside: Tensor) -> Tensor:
        """Enters a tensor that stands for `outside` in every step."""
        self.trace.fixed[self._enter(tensor)] = outside
        return tensor

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor was entered or made in this step."""
        slot = self._find(tensor)
        return slot is not None and slot not in self.trace.fixed

    def slot(self, tensor: Tensor) -> int:
        """The slot of a tensor; one that is not known comes from outside."""
        found = self._find(tensor)
        if found is None:
            found = self._enter(tensor)
            self.trace.fixed[found] = tensor
        return found

    def _find(self, tensor: Tensor) -> int | None:
        found = self._ids.get(id(tensor))
        return self._windows.get(_window(tensor)) if found is None else found

    def _enter(self, tensor: Tensor) -> int:
        slot, self._next = self._next, self._next + 1
        self._alive.append(tensor)
        self._ids[id(tensor)] = slot
        self._windows[_window(tensor)] = slot
        return slot

    # Operators --------------------------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return self._call(func, args, kwargs or {})
        except Unrollable as reason:
            self.failure = self.failure or reason
            raise

    def _call(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        facts = self._operators.get(op)
        if facts is None:
            facts = self._operators[op] = Operator.of(op)
        if self.refused or facts.lifts or op is aten.detach_.default:
            return op(*args, **kwargs)
        site = current_site()
        here = f" at site {site}" if site is not None else ""
        marked = (self._marked(args), self._marked(dict(kwargs)))
        reads = set(slots_of(marked))
        varying = not self.varying.isdisjoint(reads)
        if facts.looks:
            return self._look(op, args, kwargs, marked, varying, here)
        if facts.written:
            raise Unrollable(f"{facts.name} writes into a tensor{here}")
        if facts.random and facts.draws(args, kwargs):
            raise Unrollable(f"{facts.name} draws at random{here}")
        if varying and (facts.dynamic or (facts.indexes and any(map(is_mask, args[1])))):
            raise Unrollable(f"the shape of what {facts.name} gives may be another one in every step{here}")
        if varying and self._grad and not torch.is_grad_enabled():
            raise Unrollable(f"{facts.name} is run inside an autograd.Function or under no_grad{here}")
        if varying and not mappable(op) and is_composite(op):
            with self:
                return op.decompose(*args, **kwargs)
        out = op(*args, **kwargs)
        outputs = tuple(self._enter(item) if isinstance(item, Tensor) else None for item in results_of(out))
        call = Call(op, marked[0], marked[1], outputs, site)
        self.trace.calls.append(call)
        for slot in outputs:
            if slot is not None:
                self._maker[slot] = call
                if varying:
                    self.varying.add(slot)
        return out

    def _look(
        self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], marked: tuple[Any, Any], varying: bool, here: str
    ) -> Any:
        """Python looks at numbers: at those that are other ones in every step it may look to check arguments alone."""
        out = op(*args, **kwargs)
        slot = next(slots_of(marked))
        maker = self._maker.get(slot)
        name = "" if maker is None else str(maker.function)
        looked = args[0]
        if isinstance(looked, Tensor) and looked.dtype is torch.bool and maker is not None:
            inner = next(maker.reads(), None)
            validates = self._lines.in_validation()
            if inner is not None and (name.startswith("aten._is_all_true") or (validates and name == "aten.all.default")):
                self.trace.checks.append(Check(inner, True, self._place()))
                self.refused = not out
                return out
            if inner is not None and validates and name == "aten.any.default" and not out:
                self.trace.checks.append(Check(inner, False, self._place()))
                return out
        if varying:
            raise Unrollable(f"Python looks at a number that is another one in every step{here}")
        return out

    def _place(self) -> str:
        site = current_site()
        return f" at {self._lines.current()}" if site is None else f" at site {site}"

    def _marked(self, item: Any) -> Any:
        if isinstance(item, Tensor):
            return Slot(self.slot(item))
        if isinstance(item, (list, tuple)):
            return type(item)([self._marked(part) for part in item])
        if isinstance(item, dict):
            return {key: self._marked(part) for key, part in item.items()}
        return item


def slots_of(item: Any) -> Iterator[int]:
    """The slots in arguments."""
    if isinstance(item, Slot):
        yield item.id
    elif isinstance(item, (list, tuple)):
        for part in item:
            yield from slots_of(part)
    elif isinstance(item, Mapping):
        for part in item.values():
            yield from slots_of(part)


def filled(item: Any, values: Mapping[int, Any]) -> Any:
    """Arguments with `values[slot]` in the place of every slot."""
    if isinstance(item, Slot):
        return values[item.id]
    if isinstance(item, (list, tuple)):
        return type(item)([filled(part, values) for part in item])
    if isinstance(item, Mapping):
        return {key: filled(part, values) for key, part in item.items()}
    return item


def check_same(one: Trace, other: Trace) -> None:
    """Raise Unrollable where two steps are not one trace."""
    first = [(call.function, call.args, dict(call.kwargs), call.outputs) for call in one.calls]
    second = [(call.function, call.args, dict(call.kwargs), call.outputs) for call in other.calls]
    checks = [[(check.slot, check.true) for check in trace.checks] for trace in (one, other)]
    if repr(first) != repr(second) or checks[0] != checks[1] or one.carry != other.carry:
        place = next((call.site for call, a, b in zip(one.calls, first, second, strict=False) if repr(a) != repr(b)), None)
        raise Unrollable(f"the second step does something else than the first{f' at site {place}' if place else ''}")
    for mine, others in ((one.rows, other.rows), (one.fixed, other.fixed)):
        if mine.keys() != others.keys():
            raise Unrollable("the second step reads other tensors than the first")
        for slot, tensor in mine.items():
            if tensor is not others[slot] and not same_bits(tensor.detach(), others[slot].detach()):
                raise Unrollable("a number in the second step is another one than in the first, and not from xs")


def _window(tensor: Tensor) -> Any:
    try:
        memory = tensor.untyped_storage()._cdata
    except NotImplementedError as error:
        raise Unrollable("a tensor has no memory of its own") from error
    return memory, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
