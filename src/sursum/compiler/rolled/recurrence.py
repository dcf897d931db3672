"""What must be a loop: one operator of the graph for all steps, and its gradient, which is such a loop backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from sursum.compiler.graph import Graph, Where
from sursum.compiler.operators import results_of
from sursum.compiler.recorder import Recorder
from sursum.compiler.rolled.tracer import Call, filled
from sursum.compiler.straight import straight_line

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

    _schema = torch._C.parse_schema("sursum::recurrence(Tensor[] carry, Tensor[] each, Tensor[] fixed) -> Tensor[]")
    tags: ClassVar[tuple[Any, ...]] = ()
    __name__ = "recurrence.default"

    def __str__(self) -> str:
        return "sursum.recurrence.default"

    @cached_property
    def _strided(self) -> Any:
        return straight_line(self.graph, guards=True, strided=True)[1]

    @cached_property
    def _mapped(self) -> Any:
        return straight_line(self.graph, guards=False, strided=False)[1]

    def __call__(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        with torch._C.DisableTorchFunction():  # nothing of the program's is read here
            return self._run(carry, each, fixed)

    def _run(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        tensors = (*carry, *each, *fixed)
        batched = any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors)
        run = self._mapped if batched else self._strided
        state = _flat(carry)
        rows = torch.cat([tensor.reshape(self.length, -1).double() for tensor in each], 1).unbind(0) if each else None
        rest = [_flat(fixed)] if fixed else []
        states, kept, count = [state], [], len(self.carry)
        for t in range(self.length - 1, -1, -1) if self.reverse else range(self.length):
            failed, results = run(torch.cat([state, *([rows[t]] if rows is not None else []), *rest]))
            if failed is not None:
                raise torch.linalg.LinAlgError(f"a check fails in step {t} of a scan")
            state = _flat(results[:count])
            states.append(state)
            if self.kept:
                kept.append(_flat(results[count:]))
        found = _columns(states, self.carry, self.reverse)
        return found + _columns(kept, self.kept, self.reverse) if kept else found

    def with_graph(self, graph: Graph) -> Recurrence:
        """This operator with another graph for its step, in double precision."""
        carry, each, fixed, kept = (
            tuple(Part(p.start, p.stop, p.size, torch.float64 if p.dtype.is_floating_point else p.dtype) for p in group)
            for group in (self.carry, self.each, self.fixed, self.kept)
        )
        return Recurrence(graph, carry, each, fixed, kept, self.length, self.reverse)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors as one vector of doubles."""
    parts = [tensor.reshape(-1).double() for tensor in tensors]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _columns(rows: list[Tensor], parts: Sequence[Part], reverse: bool) -> list[Tensor]:
    """The parts of rows, each along a leading dimension; rows made from the last to the first are turned round."""
    table = torch.stack(rows[::-1] if reverse else rows)
    return [part.of(table).contiguous() for part in parts]


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
    with _disable_current_modes(), torch.no_grad():
        point = torch.cat([tensor.detach().reshape(-1).double() for group in tensors for tensor in group])
        recorder = Recorder(point, lambda: _NOWHERE)
        with recorder:
            results = step.run(*([part.of(point) for part in parts] for parts in groups))
        graph = recorder.graph(results)
    kept, _ = _parts(results[len(carry) :], 0)
    return Recurrence(graph, groups[0], groups[1], groups[2], kept, length, step.reverse)


def apply(op: Recurrence, *args: Sequence[Tensor]) -> list[Tensor]:
    """Runs the operator, as one operator where a recorder is at work."""
    mode = _get_current_dispatch_mode()
    if isinstance(mode, Recorder):
        found: list[Tensor] = mode.call(op, tuple(map(list, args)))
        return found
    return op(*args)
