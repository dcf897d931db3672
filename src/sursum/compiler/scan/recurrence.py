"""What must be a loop: one operator of the graph for all steps, and its gradient, which is such a loop backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from sursum.common.precision import doubled, widened
from sursum.common.torch_private import DisableTorchFunction, dispatch_modes, is_batched, parse_schema, without_dispatch_modes
from sursum.compiler.capture.operators import results_of
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.graph.graph import Graph, Ref, Where
from sursum.compiler.graph.python_codegen import split_line, straight_line
from sursum.compiler.scan.tracer import Call, filled

_NOWHERE = Where(None, None)


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

    _schema = parse_schema("sursum::recurrence(Tensor[] carry, Tensor[] each, Tensor[] fixed) -> Tensor[]")
    tags: ClassVar[tuple[Any, ...]] = ()
    __name__ = "recurrence.default"

    def __str__(self) -> str:
        return "sursum.recurrence.default"

    @cached_property
    def _split(self) -> tuple[list[_Window], Callable[..., tuple[int | None, tuple[Tensor, ...]]]] | None:
        """What a step reads of its arguments, and the step as a function of that; None where it must be given all at once."""
        split = split_line(self.graph)
        if split is None:
            return None
        windows = [_Window.of(ref, (self.carry, self.each, self.fixed)) for ref in split[0]]
        known = [window for window in windows if window is not None]
        return (known, split[1]) if len(known) == len(windows) else None

    @cached_property
    def _whole(self) -> Callable[[Tensor], tuple[int | None, tuple[Tensor, ...]]]:
        return straight_line(self.graph, guards=True, strided=True)[1]

    @cached_property
    def _mapped(self) -> Callable[[Tensor], tuple[int | None, tuple[Tensor, ...]]]:
        return straight_line(self.graph, guards=False, strided=False)[1]

    def __call__(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        with DisableTorchFunction():  # nothing of the program's is read here
            return self._run(carry, each, fixed)

    def _run(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        batched = any(is_batched(tensor) for tensor in (*carry, *each, *fixed))
        count, state = len(self.carry), [*carry] if batched else [_double(tensor) for tensor in carry]
        states, kept = [state], []
        if batched or self._split is None:
            run = self._joined(each, fixed, self._mapped if batched else self._whole)
        else:
            run = self._separate(each, fixed)
        for t in range(self.length - 1, -1, -1) if self.reverse else range(self.length):
            failed, results = run(t, state)
            if failed is not None:
                raise torch.linalg.LinAlgError(f"a check fails in step {t} of a scan")
            state = [*results[:count]] if batched else [_double(tensor) for tensor in results[:count]]
            states.append(state)
            kept.append(results[count:])
        found = _columns(states, self.carry, self.reverse)
        return found + _columns(kept, self.kept, self.reverse) if self.kept else found

    def _joined(self, each: Sequence[Tensor], fixed: Sequence[Tensor], run: Callable[..., Any]) -> Callable[..., Any]:
        """One step as a function of its number and the carry, given to the graph as one vector."""
        rows = torch.cat([tensor.reshape(self.length, -1).double() for tensor in each], 1).unbind(0) if each else None
        rest = [_flat(fixed)] if fixed else []
        return lambda t, state: run(torch.cat([_flat(state), *([rows[t]] if rows is not None else []), *rest]))

    def _separate(self, each: Sequence[Tensor], fixed: Sequence[Tensor]) -> Callable[..., Any]:
        """The same, given as the windows that the graph reads: of all but the carry they are made once for all steps."""
        assert self._split is not None
        windows, run = self._split
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
        return Recurrence(graph, carry, each, fixed, kept, self.length, self.reverse)


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


def operator(step: Step, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor], length: int) -> Recurrence:
    """The operator for these arguments; its graph is recorded at the values of the first step."""
    tensors = [list(carry), [tensor[0] for tensor in each], list(fixed)]
    groups, start = [], 0
    for group in tensors:
        parts, start = _parts(group, start)
        groups.append(parts)
    with without_dispatch_modes(), torch.no_grad():
        point = torch.cat([tensor.detach().reshape(-1).double() for group in tensors for tensor in group])
        recorder = Recorder(point, lambda: _NOWHERE)
        with doubled(recorder):
            results = step.run(*([part.of(point) for part in parts] for parts in groups))
        graph = recorder.graph(results)
    kept, _ = _parts(results[len(carry) :], 0)
    return Recurrence(graph, groups[0], groups[1], groups[2], kept, length, step.reverse)


def apply(op: Recurrence, *args: Sequence[Tensor]) -> list[Tensor]:
    """Runs the operator, as one operator where a recorder is at work."""
    recorder = next((mode for mode in reversed(dispatch_modes()) if isinstance(mode, Recorder)), None)
    if recorder is not None:
        found: list[Tensor] = recorder.call(op, tuple(widened(list(group)) for group in args))
        return found
    return op(*args)
