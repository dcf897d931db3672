"""A traced step evaluated for all steps: everything at once, but for what goes round in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.vmap import vmap
from sursum.compiler.capture.operators import results_of
from sursum.compiler.scan.mapping import rewritten
from sursum.compiler.scan.recurrence import Groups, Step
from sursum.compiler.scan.tracer import Call, Slot, Trace, filled
from sursum.core.scope import at_site

aten = torch.ops.aten

#: Runs a loop: of a step, its arguments and the number of steps it makes the sequences of the carry, one longer.
Recur = Callable[[Step, Groups, int], list[Tensor]]


class Evaluation:
    """The values of a trace's slots, computed when they are asked for.

    A slot's value is one tensor for all steps, or, where it is another one in each, a tensor with a leading dimension T.
    A carry whose next value does not depend on itself is that value, one step later. Those that depend on one another, a
    strongly connected component, are a loop of their own, of the operators between them alone.

    Arguments:
        trace: one step.
        init: the carry of the first step (of the last one where `reverse`).
        following: the slots of the next carry.
        length: T.
        recur: runs what must be a loop.
        reverse: whether the steps run from the last to the first.
        known: values of all steps that need not be computed.
    """

    def __init__(
        self,
        trace: Trace,
        init: Sequence[Tensor],
        following: Sequence[int],
        length: int,
        *,
        recur: Recur,
        reverse: bool = False,
        known: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._recur = recur
        self.trace, self.init, self.following, self.length, self.reverse = trace, init, following, length, reverse
        self.values: dict[int, Tensor] = {**trace.fixed, **trace.rows}
        self.each: set[int] = set(trace.rows)
        if known:
            self.values.update(known)
            self.each.update(known)
        self.last: list[Tensor] = list(init)
        self._maker = {slot: call for call in trace.calls for slot in call.outputs if slot is not None}
        self._number = {id(call): k for k, call in enumerate(trace.calls)}
        self._depends = self._dependencies()
        self._later: dict[int, Callable[[], None]] = {}
        for component in self._components():
            self._resolve(component)

    # What depends on what ---------------------------------------------------------------------------------------------

    def _dependencies(self) -> dict[int, int]:
        """For every slot the parts of the carry that it depends on, as bits."""
        bits = dict.fromkeys((*self.trace.fixed, *self.trace.rows), 0) | {
            slot: 1 << k for k, slot in enumerate(self.trace.carry)
        }
        for call in self.trace.calls:
            found = 0
            for slot in call.reads():
                found |= bits.get(slot, 0)
            bits.update((slot, found) for slot in call.outputs if slot is not None)
        return bits

    def _components(self) -> list[list[int]]:
        """The parts of the carry, those together that depend on one another, in an order in which they can be computed."""
        count = len(self.following)
        reach = [self._depends.get(slot, 0) for slot in self.following]
        for k in range(count):
            for j in range(count):
                if reach[j] >> k & 1:
                    reach[j] |= reach[k]
        found: list[list[int]] = []
        for j in sorted(range(count), key=lambda j: (reach[j] | 1 << j).bit_count()):
            if not any(j in component for component in found):
                found.append([k for k in range(count) if k == j or (reach[j] >> k & 1 and reach[k] >> j & 1)])
        return found

    def _resolve(self, component: list[int]) -> None:
        slots = [self.trace.carry[k] for k in component]
        if len(component) == 1:
            (k,), (slot,) = component, slots
            if self.following[k] == slot:  # the same from beginning to end
                self.values[slot] = self.init[k]
                return
            if not self._depends.get(self.following[k], 0) >> k & 1:
                self._shift(k, slot)
                return
            if self._sum(k, slot):
                return
        self._loop(component, slots)

    # Carries ----------------------------------------------------------------------------------------------------------

    def _shift(self, k: int, slot: int) -> None:
        after = self.stacked(self.following[k])
        first = self.init[k].unsqueeze(0)
        self.last[k] = after[0] if self.reverse else after[-1]
        self._later[slot] = lambda: self._fill(slot, torch.cat([after[1:], first] if self.reverse else [first, after[:-1]]))

    def _sum(self, k: int, slot: int) -> bool:
        """Whether the carry is a running sum, of terms that do not depend on it."""
        call = self._maker.get(self.following[k])
        if call is None or call.function is not aten.add.Tensor or call.kwargs or len(call.args) != 2:
            return False
        others = [arg for arg in call.args if not (isinstance(arg, Slot) and arg.id == slot)]
        if len(others) != 1 or not isinstance(others[0], Slot) or self._depends.get(others[0].id, 0) >> k & 1:
            return False
        init = self.init[k]
        if not init.is_floating_point():
            return False
        terms = self.stacked(others[0].id)
        if terms.shape[1:] != init.shape or terms.dtype is not init.dtype:
            return False
        self.last[k] = init + terms.sum(0)

        def later() -> None:
            sums = init + (terms.flip(0).cumsum(0).flip(0) if self.reverse else terms.cumsum(0))
            first = init.unsqueeze(0)
            self._fill(slot, torch.cat([sums[1:], first] if self.reverse else [first, sums[:-1]]))
            self._fill(self.following[k], sums)

        self._later[slot] = later
        return True

    def _loop(self, component: list[int], slots: list[int]) -> None:
        mask = sum(1 << k for k in component)
        following = [self.following[k] for k in component]
        inside = self._between(following, lambda slot: bool(self._depends.get(slot, 0) & mask))
        outside = dict.fromkeys(slot for call in inside for slot in call.reads() if not self._depends.get(slot, 0) & mask)
        self.need(outside)
        each = [slot for slot in outside if slot in self.each]
        fixed = [slot for slot in outside if slot not in self.each]
        step = Step(tuple(inside), tuple(slots), tuple(each), tuple(fixed), tuple(following), self.reverse)
        carry = [self.init[k] for k in component]
        groups = carry, [self.values[slot] for slot in each], [self.values[slot] for slot in fixed]
        sequences = self._recur(step, groups, self.length)
        for k, slot, after, sequence in zip(component, slots, following, sequences, strict=True):
            self._fill(slot, sequence[1:] if self.reverse else sequence[:-1])
            self.last[k] = sequence[0] if self.reverse else sequence[-1]
            if after in self._maker:
                self._fill(after, sequence[:-1] if self.reverse else sequence[1:])

    # Values -----------------------------------------------------------------------------------------------------------

    def _fill(self, slot: int, rows: Tensor) -> None:
        self.values[slot] = rows
        self.each.add(slot)

    def stacked(self, slot: int) -> Tensor:
        """The value of a slot in all steps, along a leading dimension."""
        self.need([slot])
        value = self.values[slot]
        return value if slot in self.each else value.unsqueeze(0).expand(self.length, *value.shape)

    def need(self, slots: Iterable[int]) -> None:
        """Computes these slots."""
        for call in self._between(slots, lambda slot: slot not in self.values and slot not in self._later):
            if not all(slot is None or slot in self.values for slot in call.outputs):
                self._run(call)

    def total(self, slot: int) -> Tensor:
        """The sum of a slot over all steps."""
        self.need([slot])
        return self.values[slot].sum(0) if slot in self.each else self.values[slot] * self.length

    def _between(self, slots: Iterable[int], wanted: Callable[[int], bool]) -> list[Call]:
        """The operators that slots come from, as far back as `wanted`, in their order."""
        found: dict[int, Call] = {}
        open_ = list(slots)
        while open_:
            slot = open_.pop()
            if slot in self._later and slot not in self.values:
                self._later.pop(slot)()
            call = self._maker.get(slot)
            if call is None or not wanted(slot) or self._number[id(call)] in found:
                continue
            found[self._number[id(call)]] = call
            open_.extend(call.reads())
        return [found[k] for k in sorted(found)]

    def _run(self, call: Call) -> None:
        slots = list(dict.fromkeys(call.reads()))
        for slot in slots:
            if slot in self._later and slot not in self.values:
                self._later.pop(slot)()
        varying = [slot for slot in slots if slot in self.each]

        def run(*tensors: Tensor) -> tuple[Any, ...]:
            values = dict(zip(slots, tensors, strict=True))
            function = rewritten(call.function)
            return tuple(results_of(function(*filled(call.args, values), **filled(call.kwargs, values))))

        tensors = [self.values[slot] for slot in slots]
        if call.site is None:
            results = self._mapped(call, run, tensors, slots, bool(varying))
        else:
            with at_site(call.site):
                results = self._mapped(call, run, tensors, slots, bool(varying))
        for filled_slot, result in zip(call.outputs, results, strict=True):
            if filled_slot is not None:
                self.values[filled_slot] = result
                if varying:
                    self.each.add(filled_slot)

    def _mapped(
        self, call: Call, run: Callable[..., tuple[Any, ...]], tensors: list[Tensor], slots: list[int], varying: bool
    ) -> tuple[Any, ...]:
        if not varying:
            return run(*tensors)
        if call.function is aten.index_select.default and slots[0] not in self.each:
            # As one selection: mapped, it would be one of a copy of the table for each step, and its gradient another.
            dim, index = call.args[1] % tensors[0].dim(), tensors[1]
            found = tensors[0].index_select(dim, index.reshape(-1))
            return (found.unflatten(dim, tuple(index.shape)).movedim(dim, 0),)
        dims = tuple(0 if slot in self.each else None for slot in slots)
        results: tuple[Any, ...] = vmap(run, in_dims=dims)(*tensors)
        return results
