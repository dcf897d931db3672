"""Loops as one operator of the graph for all steps, and their gradient, which is a loop backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sursum.common.precision import enforce_double, widen
from sursum.common.torch_private import DisableTorchFunction, dispatch_modes, is_batched, parse_schema, without_dispatch_modes
from sursum.compiler.capture.operators import results_of
from sursum.compiler.capture.recorder import Recorder
from sursum.compiler.graph import windows as geometry
from sursum.compiler.graph.graph import Graph, Node, Ref, Where, map_refs, refs_of
from sursum.compiler.graph.python_codegen import split_line
from sursum.compiler.scan.mapping import has_rule

_NOWHERE = Where(None, None)

#: Inputs: the carry, per-step inputs with a leading dimension, and loop-invariant inputs.
Groups = tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]
_Run = Callable[..., tuple[int | None, tuple[Tensor, ...]]]


class FastLoop(Protocol):
    """A loop that need not be run step by step."""

    def run(self, groups: Groups) -> list[Tensor] | None:
        """The result of the operator for these arguments; None if it must be run step by step."""


class Loops(Protocol):
    """A cache of such loops."""

    def find(self, op: Recurrence) -> FastLoop | None:
        """The loop of an operator, if there is one."""


@dataclass(frozen=True, eq=False)
class LoopStep:
    """The nodes of one step of a loop: from the values of the carry, of what differs between steps and of what is fixed, to
    those of the next carry. The values `kept` are kept of every step, for the gradient."""

    nodes: tuple[Node, ...]
    carry: tuple[int, ...]
    each: tuple[int, ...]
    fixed: tuple[int, ...]
    following: tuple[int, ...]
    reverse: bool
    kept: tuple[int, ...] = ()

    def run(self, carry: Sequence[Tensor], each: Sequence[Tensor], fixed: Sequence[Tensor]) -> list[Tensor]:
        """The next carry, and then what is kept."""
        values = dict(zip((*self.carry, *self.each, *self.fixed), (*carry, *each, *fixed), strict=True))
        for node in self.nodes:
            results = run_node(node.op, node, values)
            values.update((ref.value, result) for ref, result in zip(node.outputs, results, strict=True) if ref is not None)
        return [values[value] for value in (*self.following, *self.kept)]


def run_node(function: Callable[..., Any], node: Node, values: Mapping[int, Tensor]) -> list[Any]:
    """The results of `function` for the arguments of a node."""
    args, kwargs = map_refs((node.args, node.kwargs), lambda ref: values[ref.value])
    return results_of(function(*args, **kwargs))


@dataclass(frozen=True)
class CarryPart:
    """A tensor's slice of the flat vector that a step's graph is a function of."""

    start: int
    stop: int
    size: tuple[int, ...]
    dtype: torch.dtype

    def of(self, flat: Tensor) -> Tensor:
        """The tensor."""
        return flat[..., self.start : self.stop].reshape(flat.shape[:-1] + self.size).to(self.dtype)


@dataclass(frozen=True, eq=False)
class Recurrence:
    r"""The operator :math:`c_{t+1}, k_t = g(c_t, x_t, w)` for t = 1, …, T: it returns :math:`c_1, …, c_{T+1}` and then
    :math:`k_1, …, k_T`.

    In a graph it takes the place of an ATen operator, with arguments (carry, [x of all steps], w), three lists. `graph` is
    g as a function of one vector of doubles, whose parts are `carry`, `each` and `fixed`; `kept` are those of k.
    """

    graph: Graph
    carry: tuple[CarryPart, ...]
    each: tuple[CarryPart, ...]
    fixed: tuple[CarryPart, ...]
    kept: tuple[CarryPart, ...]
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
            mapped = next((tensor for group in groups for tensor in group if is_batched(tensor)), None)
            if mapped is not None:
                rows = [tensor.unbind(0) for tensor in each]
                return self._loop(
                    carry, self.length, lambda t, state: self._map_step((state, [row[t] for row in rows], fixed), mapped)
                )
            found = None if self._fast is None else self._fast.run(groups)
            return self.by_steps(groups, self.length) if found is None else found

    def by_steps(self, groups: Groups, count: int) -> list[Tensor]:
        """The results of the first steps, run one after another.

        Raises:
            LinAlgError: a check of a step fails.
        """
        carry, each, fixed = groups
        windows, run = self._strided
        widths = [part.stop - part.start for part in self.each]
        moving = [_double(tensor.reshape(self.length, width)) for tensor, width in zip(each, widths, strict=True)]
        still = [_double(tensor) for tensor in fixed]
        # The windows of all but the carry are made once for all steps.
        rows = [w.rows(moving[w.part]) if w.group == 1 else w.on(still[w.part]) if w.group == 2 else None for w in windows]

        def step(t: int, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
            state = [_double(tensor) for tensor in state]
            failed, results = run(*[
                w.on(state[w.part]) if made is None else made[t] if w.group == 1 else made
                for w, made in zip(windows, rows, strict=True)
            ])  # fmt: skip
            if failed is not None:
                raise torch.linalg.LinAlgError(f"a check fails in step {t} of a scan")
            return results

        return self._loop(carry, count, step)

    def at_once(self, groups: Groups, before: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of all steps, each from its given carry, along a leading dimension; without checks.

        Raises:
            RuntimeError, NotImplementedError: the steps cannot be mapped.
        """
        if not all(has_rule(node.op) for node in self.graph.nodes if refs_of(node)):
            raise NotImplementedError("torch would map an operator step by step")
        _, each, fixed = groups
        step = torch.vmap(lambda carry, row, fixed: self._map_step((carry, row, fixed), carry[0]), in_dims=(0, 0, None))
        return list(step(list(before), list(each), list(fixed)))

    def _loop(
        self, carry: Sequence[Tensor], count: int, step: Callable[[int, Sequence[Tensor]], tuple[Tensor, ...]]
    ) -> list[Tensor]:
        states, kept = [carry], []
        for t in (range(self.length - 1, -1, -1) if self.reverse else range(self.length))[:count]:
            results = step(t, states[-1])
            states.append(results[: len(carry)])
            kept.append(results[len(carry) :])
        found = _columns(states, self.carry, self.reverse)
        return found + _columns(kept, self.kept, self.reverse) if self.kept else found

    def _map_step(self, groups: Groups, mapped: Tensor) -> tuple[Tensor, ...]:
        """The outputs of one step under vmap, which maps `mapped`; without checks."""
        windows, reads, run = self._copying
        flat = [[tensor.reshape(-1).double() for tensor in group] for group in groups]
        return run(mapped, *[read(flat[w.group][w.part]) for w, read in zip(windows, reads, strict=True)])[1]

    @cached_property
    def _fast(self) -> FastLoop | None:
        return None if self.loops is None else self.loops.find(self)

    @cached_property
    def _strided(self) -> tuple[list[_Window], _Run]:
        """What a step reads of its arguments, and the step as a function of that."""
        refs, run = split_line(self.graph, guards=True, strided=True)
        return self._windows(refs), run

    @cached_property
    def _copying(self) -> tuple[list[_Window], list[Callable[[Tensor], Tensor]], _Run]:
        """The same for where strides mean nothing, and what makes the windows."""
        refs, run = split_line(self.graph, guards=False, strided=False)
        windows = self._windows(refs)
        return windows, [geometry.window(Ref(0, w.size, w.stride, w.offset, torch.float64)) for w in windows], run

    def _windows(self, refs: Sequence[Ref]) -> list[_Window]:
        return [_Window.of(ref, (self.carry, self.each, self.fixed)) for ref in refs]

    def with_graph(self, graph: Graph) -> Recurrence:
        """This operator with a different graph for its step, in double precision."""
        carry, each, fixed, kept = (
            tuple(CarryPart(p.start, p.stop, p.size, torch.float64 if p.dtype.is_floating_point else p.dtype) for p in group)
            for group in (self.carry, self.each, self.fixed, self.kept)
        )
        return Recurrence(graph, carry, each, fixed, kept, self.length, self.reverse, self.loops)


@dataclass(frozen=True, slots=True)
class _Window:
    """A window on one part of a step's vector: which of the three lists, which part, and the offset in it."""

    group: int
    part: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, ref: Ref, groups: Sequence[Sequence[CarryPart]]) -> _Window:
        """A window on the vector."""
        end = ref.offset + sum(s * (n - 1) for s, n in zip(ref.stride, ref.size, strict=True))
        for group, parts in enumerate(groups):
            for number, part in enumerate(parts):
                if part.start <= ref.offset and end < part.stop:
                    return cls(group, number, ref.size, ref.stride, ref.offset - part.start)
        raise NotImplementedError("a step reads across two of its arguments")

    def on(self, tensor: Tensor) -> Tensor:
        """The window on a contiguous tensor that holds the part."""
        return torch.as_strided(tensor, self.size, self.stride, tensor.storage_offset() + self.offset)

    def rows(self, table: Tensor) -> tuple[Tensor, ...]:
        """The window on each row of a contiguous table."""
        size, stride = (table.shape[0], *self.size), (table.stride(0), *self.stride)
        return torch.as_strided(table, size, stride, table.storage_offset() + self.offset).unbind(0)


def _double(tensor: Tensor) -> Tensor:
    """A contiguous tensor of doubles: this one, if it already is."""
    tensor = tensor if tensor.dtype is torch.float64 else tensor.double()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _columns(rows: Sequence[Sequence[Tensor]], parts: Sequence[CarryPart], reverse: bool) -> list[Tensor]:
    """Rows of tensors, each stacked along a leading dimension; rows made from last to first are reversed."""
    columns = zip(*(rows[::-1] if reverse else rows), strict=True)
    return [
        torch.stack([tensor.reshape(part.size) for tensor in column]).to(part.dtype)
        for column, part in zip(columns, parts, strict=True)
    ]


def _parts(tensors: Sequence[Tensor], start: int) -> tuple[tuple[CarryPart, ...], int]:
    """The slices of tensors in a vector from `start` on, and where the next one starts."""
    parts = []
    for tensor in tensors:
        parts.append(CarryPart(start, start + tensor.numel(), tuple(tensor.shape), tensor.dtype))
        start += tensor.numel()
    return tuple(parts), start


def operator(step: LoopStep, groups: Groups, length: int, loops: Loops | None) -> Recurrence:
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
        with enforce_double(recorder):
            results = step.run(*([part.of(point) for part in parts] for parts in places))
        graph = recorder.graph(results)
    kept, _ = _parts(results[len(carry) :], 0)
    return Recurrence(graph, places[0], places[1], places[2], kept, length, step.reverse, loops)


def apply(op: Recurrence, args: Groups) -> list[Tensor]:
    """Run the operator, recorded as one operator if a recorder is active."""
    recorder = next((mode for mode in reversed(dispatch_modes()) if isinstance(mode, Recorder)), None)
    if recorder is not None:
        found: list[Tensor] = recorder.call(op, tuple(widen(list(group)) for group in args))
        return found
    return op(*args)
