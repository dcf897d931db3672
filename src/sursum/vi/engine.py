"""The engines that take the steps: a loop in C, the captured step run by torch, or the programs themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.errors import CaptureError, DensityError, EngineWarning, VariationalError
from sursum.handlers import seed
from sursum.training import seeds
from sursum.training.batch import Batch
from sursum.training.compiled_steps import CompiledSteps
from sursum.training.packed import Packed, packed
from sursum.training.step import TrainingStep
from sursum.training.training import Training, check_depends, check_slopes
from sursum.training.work import Work, is_large, on_cpu
from sursum.vi.bound import Bound, buffers_of

ENGINES = (None, "native", "torch", "eager")

_SAME = 1e-4


class Engine(Protocol):
    """Something that takes steps."""

    name: str

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        """Take this many steps; each on one of the batches, if there are any."""

    def still_right(self, batch: Batch | None = None) -> bool:
        """Whether the programs have not changed since this engine was created; for one of batches, on this batch."""


class Eager:
    """Runs the programs at every step, handlers and all."""

    name = "eager"

    def __init__(self, bound: Bound, training: Training, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.bound, self.training, self.called = bound, training, (args, kwargs)

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        for k in range(steps):
            self._step(*(batches[k].arguments(batches[k].tensors) if batches else self.called))

    def still_right(self, batch: Batch | None = None) -> bool:
        return True

    def _step(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        training = self.training
        with torch.inference_mode(False), torch.enable_grad():
            number = seeds.derive(training.seed, seeds.STEP, training.steps)
            with training.store, seed(rng_seed=number):
                loss = self.bound.estimate(args, kwargs, training.baselines)
            leaves = training.leaves
            check_depends(loss)
            slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        found = dict(zip(leaves, slopes, strict=True))
        check_slopes(found)
        training.descend(float(loss.detach()), found)


class ByTorch:
    """Runs the captured step, in the program's own dtype and on its device.

    Args:
        step: the loss of all particles and its gradient.
        batch: the arguments of a step without batches: those that are fixed are not among them.
    """

    name = "torch"

    def __init__(self, bound: Bound, step: TrainingStep, training: Training, batch: Batch, called: tuple[Any, Any]) -> None:
        self.bound, self.step, self.training, self.batch, self.called = bound, step, training, batch, called

    def still_right(self, batch: Batch | None = None) -> bool:
        batch = batch or self.batch
        number = seeds.derive(self.training.seed, seeds.STEP, self.training.steps)
        state = {name: value.clone() for name, value in self.training.baselines.items()}
        given: dict[str, Any] = {"seed": number, "state": state}
        now = float(self.step.run(self._trained(), *batch.arguments(batch.tensors), **given).loss)
        try:
            then = float(self.step.on(batch, self._trained(), **given).loss)
        except DensityError:
            return False
        return abs(now - then) <= _SAME * max(1.0, abs(then))

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        training = self.training
        for k in range(steps):
            batch = batches[k] if batches else self.batch
            ready = None if training.gradients is None else training.gradients.ready
            number = seeds.derive(training.seed, seeds.STEP, training.steps)
            try:
                found = self.step.on(batch, self._trained(), seed=number, state=training.baselines, ready=ready)
            except DensityError:
                self._explain(batch, number)
                raise
            loss = float(found.loss)
            if not np.isfinite(loss) or not _all_finite(found.gradients.values()):
                self._explain(batch, number)
            training.descend(loss, found.gradients)

    def _trained(self) -> dict[str, Tensor]:
        return {name: leaf.detach() for name, leaf in self.training.leaves.items()}

    def _explain(self, batch: Batch, number: int) -> None:
        """Raise the error of the programs themselves in this step."""
        args, kwargs = batch.arguments(batch.tensors) if batch.tensors else self.called
        with torch.enable_grad(), self.step.seeded(number, self._trained()), self.training.store:
            value = self.bound.estimate(args, kwargs, {n: v.clone() for n, v in self.training.baselines.items()})
        leaves = self.training.leaves
        check_slopes(dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()), allow_unused=True), strict=True)))
        raise VariationalError(
            "the loss or its gradient is not finite, although the programs themselves give finite numbers there. The "
            "parameters are those before this step. Lower the learning rate, or clip gradients."
        )


class InC:
    """Runs the captured loss in C."""

    name = "native"

    def __init__(self, bound: Bound, goal: Packed, training: Training, called: tuple[Any, Any]) -> None:
        self.bound, self.training, self.called = bound, training, called
        self.steps = CompiledSteps(goal, training, self._explain, particles=bound.loss.num_particles, order=bound.loss.order)

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        self.steps.advance(steps, batches)

    def still_right(self, batch: Batch | None = None) -> bool:
        """Whether the programs still have the captured loss: data may have been written to, or a number that they read
        from outside may have changed."""
        sites = self.training.store.sites.values()
        exact = all(site.initial is None or site.initial.dtype is torch.float64 for site in sites)  # type: ignore[union-attr]
        return not self.steps.differs(batch, 1e-9 if exact else _SAME)

    def _explain(self, batch: Batch | None) -> None:
        """Raise the error of the programs themselves at the draws of this step."""
        args, kwargs = self.called if batch is None else batch.arguments(batch.tensors)
        with self.training.store:
            value = self.bound.weigh(args, kwargs, check=True)
        leaves = self.training.leaves
        check_slopes(dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()), allow_unused=True), strict=True)))


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite: then a sum is, too; where it overflows all the same, each is looked at."""
    every = list(tensors)
    total = torch.stack([tensor.sum() for tensor in every]).sum()
    return bool(torch.isfinite(total)) or all(bool(torch.isfinite(tensor).all()) for tensor in every)


class Engines:
    """Makes the engines of one SVI: for arguments that are fixed, or for batches of one shape.

    Args:
        asked: the name of an engine; None is the one that `chosen` says, where it can be had.
    """

    def __init__(self, bound: Bound, training: Training, asked: str | None) -> None:
        self.bound, self.training, self.asked = bound, training, asked
        self.chosen = asked or "native"

    def choose(self, work: Work) -> None:
        """Decide, before the first step, by which engine small and large programs are run, and in which precision."""
        if self.asked is None and (
            self.bound.scored is not None or is_large(work, self.training.leaves) or not on_cpu(self.training.leaves)
        ):
            self.chosen = "torch"
        if self.chosen == "torch" or not on_cpu(self.training.leaves):
            self.training.narrow()

    def make(self, args: Sequence[Any], kwargs: Mapping[str, Any], batch: Batch | None) -> Engine:
        """The engine for these arguments in every step; or, with a batch, for arguments like it.

        Raises:
            CaptureError, CompileError: the engine was requested but is not available.

        Warns:
            EngineWarning: the programs run at every step, for a reason that is not apparent from them.
        """
        bound, training = self.bound, self.training
        if self.asked == "eager":
            return Eager(bound, training, args, kwargs)
        if bound.custom is not None:
            if self.asked is not None:
                raise CaptureError(
                    f"engine={self.asked!r} cannot run this: {bound.custom}. Leave `engine` out to run the programs themselves."
                )
            return Eager(bound, training, args, kwargs)
        try:
            return self._captured(args, kwargs, batch)
        except CaptureError as error:
            if self.asked is not None:
                raise
            warn(f"the programs are run by Python at every step, which is slow: {error}", EngineWarning)
            return Eager(bound, training, args, kwargs)

    def _captured(self, args: Sequence[Any], kwargs: Mapping[str, Any], batch: Batch | None) -> Engine:
        bound, training = self.bound, self.training
        updates = bool(buffers_of(training.baselines))
        if updates and self.asked == "native":
            raise CaptureError(
                "engine='native' cannot run this: layers in training mode update their buffers. Leave `engine` out, or call "
                ".eval() on the network."
            )
        if self.chosen == "native" and not updates:
            reason = bound.scored
            if reason is not None:
                raise CaptureError(
                    f"engine='native' cannot run this: draws of site {reason!r} cannot be differentiated. Leave `engine` out."
                )
            try:
                goal = packed(bound.packed(args, kwargs, batch), training.leaves, batch, self.asked, bound.title)
                if goal.function.native is not None:
                    return InC(bound, goal, training, (args, kwargs))
            except CaptureError:
                if self.asked is not None:
                    raise  # otherwise torch may run what is not a function of normal and uniform numbers
        step = TrainingStep(bound.step(None if batch is not None else (args, kwargs)), engine="torch", title=bound.title)
        number = seeds.derive(training.seed, seeds.SET_UP, 1)
        trained = {name: leaf.detach() for name, leaf in training.leaves.items()}
        given = batch.arguments(batch.tensors) if batch is not None else ((), {})
        known = step.prepare(trained, *given, seed=number, state=training.baselines)
        assert known is not None
        return ByTorch(bound, step, training, known, (args, kwargs))
