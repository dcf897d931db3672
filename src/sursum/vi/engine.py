"""The engines that take the steps: a loop in C, the captured step run by torch, or the programs themselves."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.compiler.native.library.blas import one_thread
from sursum.core.calling import valued
from sursum.errors import CaptureError, DensityError, EngineWarning, VariationalError
from sursum.handlers import seed
from sursum.training import seeds
from sursum.training.batch import Batch
from sursum.training.compiled_loop import TrainingLoop, rule_of
from sursum.training.indices import Subsamples, draw_rows
from sursum.training.noise import Noise, block
from sursum.training.packed import Packed, packed
from sursum.training.step import TrainingStep
from sursum.training.training import Training, check_depends
from sursum.training.work import Work, is_large, on_cpu
from sursum.vi.bound import Bound, buffers_of

ENGINES = (None, "native", "torch", "eager")

_BLOCK = 2**18
_LONGEST = 1024
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


class Rows:
    """Memory for what some steps take besides the parameters: in each row, for each particle, what is drawn and then the batch.

    Args:
        steps: how many rows.
        drawn: how many numbers are drawn for a particle.
        like: a batch of the shape of all.
    """

    def __init__(self, steps: int, particles: int, drawn: int, like: Batch) -> None:
        sizes = [tensor.numel() for tensor in like.tensors]
        with torch.inference_mode(False):  # it is written to again, perhaps outside of that mode
            self._all = torch.empty(steps, particles, drawn + sum(sizes), dtype=torch.float64)
        self._drawn, *parts = self._all.split([drawn, *sizes], 2)
        shapes = [(particles, *tensor.shape) for tensor in like.tensors]
        self._parts = [[part[k].view(shape) for part, shape in zip(parts, shapes, strict=True)] for k in range(steps)]

    def filled(self, drawn: Tensor, batches: Sequence[Batch]) -> Tensor:
        """Row k with the numbers `drawn[k]` and the tensors of batch k: (steps, particles · width)."""
        self._drawn.copy_(drawn.view(self._drawn.shape))
        for parts, batch in zip(self._parts, batches, strict=True):
            for part, tensor in zip(parts, batch.tensors, strict=True):
                part.copy_(tensor)
        return self._all.view(len(self._parts), -1)


class InC:
    """Runs the captured loss: in C, many steps per call, if the loop implements the optimiser; otherwise step by step.

    Noise and indices are drawn in blocks of steps, each from a generator of (seed, block), so that a run may stop and resume
    anywhere.
    """

    name = "native"

    def __init__(self, bound: Bound, goal: Packed, training: Training, called: tuple[Any, Any]) -> None:
        self.bound, self.goal, self.training, self.called = bound, goal, training, called
        self.particles = bound.loss.num_particles
        self._drawn_width = goal.noise + sum(count for count, _ in goal.requests)
        self._rows = max(1, min(_LONGEST, _BLOCK // max(self._drawn_width * self.particles, 1)))
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0))
        self._row: Rows | None = None  # where each step by itself has what is drawn and its batch
        optimizer = training.ready()
        rule = self._rule = rule_of(optimizer)
        plateau = isinstance(training.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        self._loop: TrainingLoop | None = None
        if goal.function.native is not None and rule is not None and not plateau and training.gradients is None:
            clip = (training.optim.clip_value or 0.0, training.optim.clip_norm or 0.0)
            self._loop = TrainingLoop(goal, self.particles, bound.loss.order, rule, clip)

    def still_right(self, batch: Batch | None = None) -> bool:
        """Whether the programs still have the captured loss: data may have been written to, or a number that they read
        from outside may have changed."""
        if rule_of(self.training.ready()) != self._rule:
            return False  # the optimiser has been changed
        rows = self._draw(self.training.steps)[:1]
        row = (self._with_batches(rows, [batch]) if batch is not None else rows)[0].reshape(self.particles, -1)[0]
        q = torch.cat([torch.from_numpy(self.goal.coordinates()), row])
        with valued():
            now, then = float(self.goal.value(q).detach()), self.goal.loss_and_grad(q)[0]
        sites = self.training.store.sites.values()
        exact = all(site.initial is None or site.initial.dtype is torch.float64 for site in sites)  # type: ignore[union-attr]
        return abs(now - then) <= (1e-9 if exact else _SAME) * max(1.0, abs(then))

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        at = 0
        with one_thread():  # with more threads matrix products have other bits
            while at < steps:
                rows = self._draw(self.training.steps)[: steps - at]
                if batches:
                    rows = self._with_batches(rows, batches[at : at + rows.shape[0]])
                if self._loop is None:
                    self._step(rows[0], batches[at] if batches else None)
                    at += 1
                else:
                    self._many(self._loop, rows, batches[at : at + rows.shape[0]])
                    at += rows.shape[0]

    def _draw(self, step: int) -> Tensor:
        """Noise and indices of this step and the rest of its block: (steps, particles · (noise + indices))."""
        number, row = divmod(step, self._rows)
        if self._drawn[0] != number:
            drawn = block(
                list(self.goal.kinds) * self.particles,
                self._rows,
                seeds.derive(self.training.seed, seeds.NOISE, number),
            )
            if self.goal.requests:
                drawn = self._with_indices(drawn, number)
            self._drawn = (number, drawn)
        return self._drawn[1][row:]

    def _with_indices(self, noise: Tensor, number: int) -> Tensor:
        """The noise of a block with the indices of its steps beside it, for each particle its own."""
        generator = np.random.Generator(np.random.SFC64(seeds.derive(self.training.seed, seeds.INDICES, number)))
        every = self._rows * self.particles
        found = [torch.from_numpy(draw_rows(generator, *request, every)).double() for request in self.goal.requests]
        flat = torch.cat([noise.reshape(every, -1), *found], 1)
        return flat.reshape(self._rows, -1)

    def _with_batches(self, drawn: Tensor, batches: Sequence[Batch]) -> Tensor:
        """What is drawn for some steps with the batch of each beside it, in each of its particles."""
        if not batches[0].tensors:
            return drawn
        if len(batches) > 1:
            return Rows(len(batches), self.particles, self._drawn_width, batches[0]).filled(drawn, batches)
        if self._row is None:
            self._row = Rows(1, self.particles, self._drawn_width, batches[0])
        return self._row.filled(drawn, batches)

    def _many(self, loop: TrainingLoop, rows: Tensor, batches: Sequence[Batch]) -> None:
        training = self.training
        optimizer = training.ready()
        count = rows.shape[0]
        rates, losses = np.empty(count), np.empty(count)
        rates.fill(optimizer.param_groups[0]["lr"])
        if training.scheduler is not None:
            before = copy.deepcopy(training.scheduler.state_dict())
            for k in range(count):
                rates[k] = optimizer.param_groups[0]["lr"]
                training.schedule(0.0)
        taken = loop.steps(rows.contiguous(), rates, losses, optimizer)
        training.losses.frombytes(losses[:taken].tobytes())
        if taken < count:
            if training.scheduler is not None:
                training.scheduler.load_state_dict(before)
                for group in optimizer.param_groups:
                    group["lr"] = rates[taken]
            self._explain(rows[taken], batches[taken] if batches else None)

    def _step(self, row: Tensor, batch: Batch | None) -> None:
        point = torch.from_numpy(self.goal.coordinates())
        found = [self.goal.loss_and_grad(torch.cat([point, part])) for part in row.reshape(self.particles, -1)]
        losses = torch.tensor([loss for loss, _ in found], dtype=torch.float64)
        slopes = torch.stack([slope for _, slope in found])
        loss, weights = join_losses(losses, self.bound.loss.order)
        slope = weights @ slopes
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(slope).all()):
            self._explain(row, batch)
        self.training.descend(float(loss), dict(self.goal.split(slope)))

    def _explain(self, row: Tensor, batch: Batch | None) -> None:
        """Raise the error of the programs themselves, run with the same noise, at this step."""
        args, kwargs = self.called if batch is None else batch.arguments(batch.tensors)
        training = self.training
        with torch.enable_grad():
            for part in row.reshape(self.particles, -1):
                rest = self.goal.inputs.unpack(torch.cat([torch.zeros(self.goal.dim, dtype=torch.float64), part]))
                rest = rest[len(self.goal.leaves) :]
                with training.store, Subsamples(asked=[], given=rest[1 : 1 + len(self.goal.requests)]), Noise(rest[0]):
                    value = self.bound.weigh(args, kwargs, check=True)
                leaves = training.leaves
                check_slopes(
                    dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()), allow_unused=True), strict=True))
                )
        raise VariationalError(
            "the loss or its gradient is not finite in double precision, although the programs themselves give finite "
            "numbers there. The parameters are those before this step. Lower the learning rate, or clip gradients."
        )


def join_losses(losses: Tensor, order: float) -> tuple[Tensor, Tensor]:
    """The loss from −log w of several particles, (K,), and the weight of each in the gradient."""
    if order == 1.0:
        return losses.mean(), torch.full_like(losses, 1.0 / len(losses))
    power = 1.0 - order
    total = torch.logsumexp(-power * losses, 0)
    return -(total - np.log(len(losses))) / power, torch.softmax(-power * losses, 0)


def check_slopes(slopes: Mapping[str, Tensor | None]) -> None:
    """Raise if the gradient by a parameter is not finite.

    Raises:
        VariationalError: names the parameter.
    """
    for name, slope in slopes.items():
        if slope is not None and not bool(torch.isfinite(slope).all()):
            raise VariationalError(
                f"the loss is finite, but its gradient by parameter {name!r} is not. The parameters are those before this "
                "step. Look for a function with an infinite slope (sqrt or log at zero, a norm of zeros) in its computation."
            )


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
