"""`rolled`: inside it the body of a scan is run for one step, on behalf of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sursum.common.precision import enforce_double, is_double, widen
from sursum.common.pytree import Shape
from sursum.common.torch_private import AutoDispatchBelowAutograd, dispatch_modes, is_all_true, without_dispatch_modes
from sursum.common.user_frame import warn
from sursum.compiler.capture.refusals import place
from sursum.compiler.capture.selection import SelectByTensor
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.graph import Guard
from sursum.compiler.scan.body import BodyRecorder, ScanBody, Unrollable
from sursum.compiler.scan.evaluation import Evaluation
from sursum.compiler.scan.gradient import recur
from sursum.compiler.scan.mapping import mappable
from sursum.compiler.scan.memory import memory_of
from sursum.compiler.scan.native_loop import NativeLoops
from sursum.core.messages import Step
from sursum.core.runtime import Messenger, handler
from sursum.core.scan import Scan, check_kept, plain
from sursum.core.scope import leave
from sursum.errors import ArgumentError, EngineWarning, EscapeError

#: At most this many steps are recorded of a body that remembers something.
_STEPS = 1000


@handler
class rolled(Messenger):
    """Runs the body of each scan inside for one step, and its operators for all steps.

    A first step is run as it is, so that what is global (a lifted parameter) is there; then the first and the second step
    are recorded, and must be one graph. A body that cannot be recorded is run step by step, with a note.

    Raises:
        EscapeError: the body behaves differently each time it is run.

    Warns:
        EngineWarning: a scan is run step by step.
    """

    of_capture: ClassVar[bool] = True

    # For all executions: the loops in C, and those whose body has state that does not affect it.
    loops: NativeLoops = field(default_factory=NativeLoops, repr=False)
    steady: set[tuple[str, int]] = field(default_factory=set, repr=False)

    @property
    def roller(self) -> Callable[[Any], Any]:
        return self._roll

    def _roll(self, loop: Scan) -> tuple[Sequence[Tensor], Sequence[Tensor], Shape]:
        if any(isinstance(mode, BodyRecorder) for mode in dispatch_modes()):
            raise Unrollable(f"{loop.name} is inside it")
        if loop.length < 2:
            return plain(loop)
        if is_double():  # the first carry is like those that follow
            loop = replace(loop, init=widen(loop.init), xs=widen(loop.xs))
        rolling = _Rolling(loop, self.loops, self.steady)
        try:
            return rolling.run()
        except Unrollable as reason:
            if self.note(f"{loop.name}: {reason}"):
                warn(
                    f"{loop.name} is captured step by step, so that its code grows with its {loop.length} steps: {reason}. "
                    "Write the body as operators on tensors, the same in every step.",
                    EngineWarning,
                )
            rolling.check_again()
            return plain(loop)


@dataclass(frozen=True, slots=True)
class RolledStep(Step):
    """A step that is recorded, and stands for all of them."""

    rolled: ClassVar[bool] = True

    rolling: Any = None
    recorder: Any = None

    def take(self, stacked: Tensor) -> Tensor:
        with without_dispatch_modes():
            if self.recorder.knows(stacked):
                raise Unrollable("the values of all steps are computed inside a step")
            part: Tensor = self.recorder.row(stacked[self.index].detach().clone(), stacked)
            return part

    def join(self, values: Sequence[Tensor]) -> Tensor:
        joined: Tensor = self.rolling.evaluation.stacked(self.recorder.value(values[0]))
        return joined


@dataclass
class _Rolling:
    """One scan, rolled."""

    loop: Scan
    loops: NativeLoops
    steady: set[tuple[str, int]]
    evaluation: Evaluation = field(init=False)
    outcome: tuple[list[Tensor], list[Any], Shape] = field(init=False)

    def _first(self) -> tuple[list[Tensor], list[Any], Shape]:
        """The first step, run directly."""
        loop = self.loop
        step = Step(loop.name, None, loop.length, index=0, loop=loop)
        return loop.step(step, loop.init, [row[0] for row in loop.xs])

    def check_again(self) -> None:
        """Raise EscapeError if the first step behaves differently each time: it cannot be run several times then."""
        before, again = self.outcome, self._first()
        with without_dispatch_modes():
            pairs = list(zip([*before[0], *before[1]], [*again[0], *again[1]], strict=True))
            same = all(same_bits(torch.as_tensor(a).detach(), torch.as_tensor(b).detach()) for a, b in pairs)
        if not same:
            raise EscapeError(
                f"the body of a {self.loop.name} was run twice for one step and gave two results: it counts the steps itself, "
                "or draws at random. Put what varies into xs, and make draws sites."
            )

    def run(self) -> tuple[Sequence[Tensor], Sequence[Tensor], Shape]:
        loop = self.loop
        before = memory_of(loop.body)
        self.outcome = carry, _, shape = self._first()
        step, body, _ = self._record(0, loop.init)
        _, other, other_shape = self._record(1, carry)
        check_kept(loop, shape, other_shape)
        with without_dispatch_modes():
            body.check_same(other)
        if (loop.name, loop.length) not in self.steady and memory_of(loop.body) != before:
            self._refuse_counting(body, carry)
            self.steady.add((loop.name, loop.length))
        unmapped = next((node.op for node in body.varying() if not mappable(node.op)), None)
        if unmapped is not None:
            raise Unrollable(f"{unmapped} cannot be run for several steps at once")
        following, kept = body.outputs[: len(loop.init)], body.outputs[len(loop.init) :]
        self.evaluation = Evaluation(body, loop.init, following, loop.length, recur=partial(recur, self.loops))
        for guard in body.graph.guards:
            self._verify(guard)
        leave(step)
        return self.evaluation.last, [self.evaluation.stacked(value) for value in kept], shape

    def _refuse_counting(self, body: ScanBody, carry: Sequence[Tensor]) -> None:
        """Raise EscapeError where a body that remembers something does something else after more steps."""
        for _ in range(min(self.loop.length, _STEPS)):
            other = self._record(1, carry)[1]
            try:
                with without_dispatch_modes():
                    body.check_same(other)
            except Unrollable as reason:
                raise EscapeError(
                    f"the body of a {self.loop.name} keeps state between steps that changes what it does: it "
                    f"counts the steps itself ({reason}). Put what varies into xs or into the carry."
                ) from None

    def _record(self, index: int, carry: Sequence[Tensor]) -> tuple[RolledStep, ScanBody, Shape]:
        """One step as a graph, whose outputs are the next carry and what is kept."""
        loop, recorder = self.loop, BodyRecorder()
        step = RolledStep(loop.name, None, loop.length, index=index, loop=loop, rolling=self, recorder=recorder)
        double = is_double()
        with without_dispatch_modes():
            entered = [recorder.carry(leaf.detach().clone()) for leaf in carry]
            rows = [step.take(row) for row in loop.xs]
            with enforce_double(recorder) if double else recorder, AutoDispatchBelowAutograd(), SelectByTensor():
                following, ys, shape = loop.step(step, entered, rows)
            return step, recorder.body([*following, *map(torch.as_tensor, ys)]), shape

    def _verify(self, guard: Guard) -> None:
        valid = self.evaluation.stacked(guard.ref.value)
        if guard.kind == "zero":
            valid = valid == 0
        elif valid.dtype is not torch.bool:
            valid = valid != 0
        if not is_all_true(valid):
            with without_dispatch_modes():
                index = int((~valid).reshape(self.loop.length, -1).any(1).int().argmax())
            at = f" at {guard.where.line}" if guard.where.site is None else place(guard.where)
            raise ArgumentError(
                f"an argument of a distribution, or a value, is outside its constraint{at} in step {index} of a "
                f"{self.loop.name}. Constrain what it is computed from."
            )
