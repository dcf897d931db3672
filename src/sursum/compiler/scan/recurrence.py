"""What must be a loop: one operator of the graph for all steps, and its gradient, which is such a loop backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sursum.common.precision import doubled, widened
from sursum.common.torch_private import DisableTorchFunction, dispatch_modes, is_batched, parse_schema, without_dispatch_modes
from sursum.compiler.capture.operators import results_of
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.graph import windows as geometry
from sursum.compiler.graph.graph import Graph, Ref, Where
from sursum.compiler.graph.python_codegen import split_line, straight_line
from sursum.compiler.scan.mapping import has_rule
from sursum.compiler.scan.tracer import Call, filled

_NOWHERE = Where(None, None)

#: The carry, what is another one in each step, with a leading dimension, and what is fixed.
Groups = tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]
_Run = Callable[..., tuple[int | None, tuple[Tensor, ...]]]
_Stepper = Callable[[int, Sequence[Tensor]], tuple[int | None, tuple[Tensor, ...]]]


class FastLoop(Protocol):
    """A loop that need not be run step by step."""

    def run(self, groups: Groups) -> list[Tensor] | None:
        """What the operator gives for these arguments; None where it must be run step by step."""


class Loops(Protocol):
    """What finds such loops."""

    def find(self, op: Recurrence) -> FastLoop | None:
        """That of an operator, if there is one."""


@dataclass(frozen=True, eq=False)
class Step:
    """The operators of one step of a loop: from the slots of the carry, of what is another one in each step and of what is
    fixed, to those of the next carry. What is in the slots `kept` is kept of every step, for the gradient."""

    calls: tuple[Call, ...]
    carry: tuple[int, ...]
    each: tuple[int, ...]
    fixed: tuple[int, ...]
    following: tuple[int, ...]
    reverse: bool
    kept: tuple[int, ...] = ()

    def run(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        """The next carry, and then what is kept."""
        slots = (*self.carry, *self.each, *self.fixed)
        values = dict(zip(slots, (*carry, *each, *fixed), strict=True))
        for call in self.calls:
            results = results_of(call.function(*filled(call.args, values), **filled(call.kwargs, values)))
            values.update((slot, result) for slot, result in zip(call.outputs, results, strict=True) if slot is not None)
        return [values[slot] for slot in (*self.following, *self.kept)]


@dataclass(frozen=True)
class Part:
    """A tensor's place in the flat vector that a step's graph is a function of."""

    start: int
    stop: int
    size: tuple[int, ...]
    dtype: torch.dtype

    def of(self, flat: Tensor) -> Tensor:
        """The tensor."""
        return flat[..., self.start : self.stop].reshape(flat.shape[:-1] + self.size).to(self.dtype)


@dataclass(frozen=True, eq=False)
class Recurrence:
    r"""The operator :math:`c_{t+1}, k_t = g(c_t, x_t, w)` for t = 1, …, T: it gives :math:`c_1, …, c_{T+1}` and then
    :math:`k_1, …, k_T`.

    It stands in a graph where an ATen operator would, with arguments (carry, [x of all steps], w), three lists. `graph` is
    g as a function of one vector of doubles, of which `carry`, `each` and `fixed` are the parts; `kept` are those of k.
    """

    graph: Graph
    carry: tuple[Part, ...]
    each: tuple[Part, ...]
    fixed: tuple[Part, ...]
    kept: tuple[Part, ...]
    length: int
    reverse: bool
    loops: Loops | None = None

    _schema = parse_schema("sursum::recurrence(Tensor[] carry, Tensor[] each, Tensor[] fixed) -> Tensor[]")
    tags: ClassVar[tuple[Any, ...]] = ()
    __name__ = "recurrence.default"

    def __str__(self) -> str:
        return "sursum.recurrence.default"

    def __call__(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        groups = (carry, each, fixed)
        with DisableTorchFunction():  # nothing of the program's is read here
            if any(is_batched(tensor) for group in groups for tensor in group):
                return self._loop(groups, self.length, self._joined(groups, self._mapped), lambda tensor: tensor)
            found = None if self._fast is None else self._fast.run(groups)
            return self.by_steps(groups, self.length) if found is None else found

    def by_steps(self, groups: Groups, count: int) -> list[Tensor]:
        """What so many first steps give, run one after another.

        Raises:
            LinAlgError: a check of a step fails.
        """
        run = self._joined(groups, self._whole) if self._split is None else self._separate(groups, *self._split)
        return self._loop(groups, count, run, _double)

    def at_once(self, groups: Groups, before: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of all steps, each from the carry that is given for it, along a leading dimension; without checks.

        Raises:
            RuntimeError, NotImplementedError: the steps cannot be mapped.
        """
        if self._split_mapped is None:
            raise NotImplementedError("an operator cannot be mapped, or reads across two arguments")
        windows, run = self._split_mapped
        sources = (before, groups[1], groups[2])
        shape = (len(before[0]), -1)
        tensors = [_double(sources[w.group][w.part]).reshape(-1 if w.group == 2 else shape) for w in windows]
        reads = [geometry.window(Ref(0, w.size, w.stride, w.offset, torch.float64)) for w in windows]

        def step(q: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
            return run(q, *[read(part) for read, part in zip(reads, parts, strict=True)])[1]

        dims = (0, *(None if w.group == 2 else 0 for w in windows))
        return list(torch.vmap(step, in_dims=dims)(before[0], *tensors))

    def _loop(self, groups: Groups, count: int, run: _Stepper, made: Callable[[Tensor], Tensor]) -> list[Tensor]:
        carries, state = len(self.carry), [made(tensor) for tensor in groups[0]]
        states, kept = [state], []
        steps = range(self.length - 1, -1, -1) if self.reverse else range(self.length)
        for t in steps[:count]:
            failed, results = run(t, state)
            if failed is not None:
                raise torch.linalg.LinAlgError(f"a check fails in step {t} of a scan")
            state = [made(tensor) for tensor in results[:carries]]
            states.append(state)
            kept.append(results[carries:])
        found = _columns(states, self.carry, self.reverse)
        return found + _columns(kept, self.kept, self.reverse) if self.kept else found

    @cached_property
    def _fast(self) -> FastLoop | None:
        return None if self.loops is None else self.loops.find(self)

    @cached_property
    def _split(self) -> tuple[list[_Window], _Run] | None:
        """What a step reads of its arguments, and the step as a function of that; None where it must be given all at once."""
        return self._on_parts(split_line(self.graph, guards=True, strided=True))

    @cached_property
    def _split_mapped(self) -> tuple[list[_Window], _Run] | None:
        mapped = all(has_rule(node.op) for node in self.graph.nodes)
        return self._on_parts(split_line(self.graph, guards=False, strided=False)) if mapped else None

    def _on_parts(self, split: tuple[tuple[Ref, ...], _Run] | None) -> tuple[list[_Window], _Run] | None:
        if split is None:
            return None
        windows = [_Window.of(ref, (self.carry, self.each, self.fixed)) for ref in split[0]]
        known = [window for window in windows if window is not None]
        return (known, split[1]) if len(known) == len(windows) else None

    @cached_property
    def _whole(self) -> _Run:
        return straight_line(self.graph, guards=True, strided=True)[1]

    @cached_property
    def _mapped(self) -> _Run:
        return straight_line(self.graph, guards=False, strided=False)[1]

    def _joined(self, groups: Groups, run: _Run) -> _Stepper:
        """One step as a function of its number and the carry, given to the graph as one vector."""
        _, each, fixed = groups
        rows = torch.cat([tensor.reshape(self.length, -1).double() for tensor in each], 1).unbind(0) if each else None
        rest = [_flat(fixed)] if fixed else []
        return lambda t, state: run(torch.cat([_flat(state), *([rows[t]] if rows is not None else []), *rest]))

    def _separate(self, groups: Groups, windows: Sequence[_Window], run: _Run) -> _Stepper:
        """The same, given as the windows that the graph reads: of all but the carry they are made once for all steps."""
        _, each, fixed = groups
        widths = [part.stop - part.start for part in self.each]
        moving = [_double(tensor.reshape(self.length, width)) for tensor, width in zip(each, widths, strict=True)]
        still = [_double(tensor) for tensor in fixed]
        columns: list[Any] = []
        for window in windows:
            if window.group == 1:
                columns.append(window.rows(moving[window.part]))
            else:
                columns.append(window.on(still[window.part]) if window.group == 2 else None)

        def step(t: int, state: Sequence[Tensor]) -> Any:
            return run(*[
                window.on(state[window.part]) if column is None else column[t] if window.group == 1 else column
                for window, column in zip(windows, columns, strict=True)
            ])  # fmt: skip

        return step

    def with_graph(self, graph: Graph) -> Recurrence:
        """This operator with another graph for its step, in double precision."""
        carry, each, fixed, kept = (
            tuple(Part(p.start, p.stop, p.size, torch.float64 if p.dtype.is_floating_point else p.dtype) for p in group)
            for group in (self.carry, self.each, self.fixed, self.kept)
        )
        return Recurrence(graph, carry, each, fixed, kept, self.length, self.reverse, self.loops)


@dataclass(frozen=True, slots=True)
class _Window:
    """A window on one part of a step's vector: of which of the three lists, which part, and where in it."""

    group: int
    part: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, ref: Ref, groups: Sequence[Sequence[Part]]) -> _Window | None:
        """A window on the vector; None where it reads across two parts."""
        end = ref.offset + sum(s * (n - 1) for s, n in zip(ref.stride, ref.size, strict=True))
        for group, parts in enumerate(groups):
            for number, part in enumerate(parts):
                if part.start <= ref.offset and end < part.stop:
                    return cls(group, number, ref.size, ref.stride, ref.offset - part.start)
        return None

    def on(self, tensor: Tensor) -> Tensor:
        """The window on a contiguous tensor that holds the part."""
        return torch.as_strided(tensor, self.size, self.stride, tensor.storage_offset() + self.offset)

    def rows(self, table: Tensor) -> tuple[Tensor, ...]:
        """The window on each row of a contiguous table."""
        size, stride = (table.shape[0], *self.size), (table.stride(0), *self.stride)
        return torch.as_strided(table, size, stride, table.storage_offset() + self.offset).unbind(0)


def _double(tensor: Tensor) -> Tensor:
    """A contiguous tensor of doubles: this one, if it is that."""
    tensor = tensor if tensor.dtype is torch.float64 else tensor.double()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors as one vector of doubles."""
    parts = [tensor.reshape(-1).double() for tensor in tensors]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _columns(rows: Sequence[Sequence[Tensor]], parts: Sequence[Part], reverse: bool) -> list[Tensor]:
    """Rows of tensors, each along a leading dimension; rows made from the last to the first are turned round."""
    columns = zip(*(rows[::-1] if reverse else rows), strict=True)
    return [
        torch.stack([tensor.reshape(part.size) for tensor in column]).to(part.dtype)
        for column, part in zip(columns, parts, strict=True)
    ]


def _parts(tensors: Sequence[Tensor], start: int) -> tuple[tuple[Part, ...], int]:
    """The places of tensors in a vector from `start` on, and where the next one starts."""
    parts = []
    for tensor in tensors:
        parts.append(Part(start, start + tensor.numel(), tuple(tensor.shape), tensor.dtype))
        start += tensor.numel()
    return tuple(parts), start


def operator(step: Step, groups: Groups, length: int, loops: Loops | None) -> Recurrence:
    """The operator for these arguments; its graph is recorded at the values of the first step."""
    carry, each, fixed = groups
    tensors = [list(carry), [tensor[0] for tensor in each], list(fixed)]
    places, start = [], 0
    for group in tensors:
        parts, start = _parts(group, start)
        places.append(parts)
    with without_dispatch_modes(), torch.no_grad():
        point = torch.cat([tensor.detach().reshape(-1).double() for group in tensors for tensor in group])
        recorder = Recorder(point, lambda: _NOWHERE)
        with doubled(recorder):
            results = step.run(*([part.of(point) for part in parts] for parts in places))
        graph = recorder.graph(results)
    kept, _ = _parts(results[len(carry) :], 0)
    return Recurrence(graph, places[0], places[1], places[2], kept, length, step.reverse, loops)


def apply(op: Recurrence, args: Groups) -> list[Tensor]:
    """Runs the operator, as one operator where a recorder is at work."""
    recorder = next((mode for mode in reversed(dispatch_modes()) if isinstance(mode, Recorder)), None)
    if recorder is not None:
        found: list[Tensor] = recorder.call(op, tuple(widened(list(group)) for group in args))
        return found
    return op(*args)
