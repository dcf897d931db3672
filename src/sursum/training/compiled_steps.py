"""Steps along a loss that is compiled to C: many in one call where the loop implements the optimiser, otherwise one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sursum.compiler.native.library.blas import one_thread
from sursum.core.calling import valued
from sursum.errors import SursumError, VariationalError
from sursum.training import seeds
from sursum.training.batch import Batch
from sursum.training.compiled_loop import TrainingLoop, UpdateRule, rule_of
from sursum.training.indices import Subsamples
from sursum.training.noise import Noise, block
from sursum.training.packed import Packed
from sursum.training.subsets import Subsets
from sursum.training.training import Training

_BLOCK = 2**18
_LONGEST = 1024


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


class CompiledSteps:
    """Takes steps along a captured loss.

    Noise and indices are drawn in blocks of steps, each from a generator of (seed, block), so that a run may stop and resume
    anywhere.

    Args:
        goal: the loss of one particle.
        training: the parameters, the optimiser and the history; written into.
        explain: raises the error of the programs themselves, run on a batch, or with None on the fixed arguments; the draws
            and the subsamples in it are those of the step.
        particles, order: how many losses a step joins, and the order of the mean that joins them.
        error: the class of the error of a loss that is not finite where the programs' own is.
    """

    def __init__(
        self,
        goal: Packed,
        training: Training,
        explain: Callable[[Batch | None], None],
        *,
        particles: int = 1,
        order: float = 1.0,
        error: type[SursumError] = VariationalError,
    ) -> None:
        self.goal, self.training, self.particles, self.order = goal, training, particles, order
        self._explanation, self._error = explain, error
        self._drawn_width = goal.noise + sum(count for count, _ in goal.requests)
        self._rows = max(1, min(_LONGEST, _BLOCK // max(self._drawn_width * self.particles, 1)))
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0))
        self._subsets = Subsets() if goal.requests else None
        self._row: Rows | None = None  # where each step by itself has what is drawn and its batch
        rule = self._rule = loop_rule(training)
        self._loop: TrainingLoop | None = None
        if goal.function.native is not None and rule is not None and training.gradients is None:
            clip = (training.optim.clip_value or 0.0, training.optim.clip_norm or 0.0)
            self._loop = TrainingLoop(goal, particles, order, rule, clip)

    def differs(self, batch: Batch | None, largest: float) -> bool:
        """Whether the programs' loss at the next step is not the captured one, up to `largest` of it; or the optimiser has
        been changed."""
        if loop_rule(self.training) != self._rule:
            return True
        rows = self._draw(self.training.steps)[:1]
        row = (self._with_batches(rows, [batch]) if batch is not None else rows)[0].reshape(self.particles, -1)[0]
        q = torch.cat([torch.from_numpy(self.goal.coordinates()), row])
        with valued():
            now, then = float(self.goal.value(q).detach()), self.goal.loss_and_grad(q)[0]
        return not abs(now - then) <= largest * max(1.0, abs(then))

    def advance(self, steps: int, batches: Sequence[Batch] = ()) -> None:
        """Take this many steps; each on one of the batches, if there are any.

        Raises:
            SursumError: a loss or a gradient is not finite; the parameters are those before that step.
        """
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
        """Noise and indices of this step and the rest of its block, for each particle its own: (steps, particles · width)."""
        number, row = divmod(step, self._rows)
        if self._drawn[0] != number:
            every, noise = self._rows * self.particles, self.goal.noise
            drawn = block(self.goal.kinds, every, seeds.derive(self.training.seed, seeds.NOISE, number))
            if self._subsets is not None:
                both = np.empty((every, self._drawn_width))
                both[:, :noise] = drawn
                source, at = np.random.SFC64(seeds.derive(self.training.seed, seeds.INDICES, number)), noise
                for count, size in self.goal.requests:
                    self._subsets.draw(source, count, size, both[:, at : at + count])
                    at += count
                drawn = torch.from_numpy(both)
            self._drawn = (number, drawn.view(self._rows, -1))
        return self._drawn[1][row:]

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
        loss, weights = join_losses(losses, self.order)
        slope = weights @ slopes
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(slope).all()):
            self._explain(row, batch)
        self.training.descend(float(loss), dict(self.goal.split(slope)))

    def _explain(self, row: Tensor, batch: Batch | None) -> None:
        """Raise the error of the programs themselves, run with the same noise, at this step."""
        goal = self.goal
        with torch.enable_grad():
            for part in row.reshape(self.particles, -1):
                rest = goal.inputs.unpack(torch.cat([torch.zeros(goal.dim, dtype=torch.float64), part]))[len(goal.leaves) :]
                with Subsamples(asked=[], given=rest[1 : 1 + len(goal.requests)]), Noise(rest[0]):
                    self._explanation(batch)
        raise self._error(
            "the loss or its gradient is not finite in double precision, although the programs themselves give finite "
            "numbers there. The parameters are those before this step. Lower the learning rate, or clip gradients."
        )


def loop_rule(training: Training) -> UpdateRule | None:
    """The rule by which the C loop updates parameters as this optimiser and its schedule do; None if it has none."""
    rule = rule_of(training.ready())
    return None if isinstance(training.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else rule


def join_losses(losses: Tensor, order: float) -> tuple[Tensor, Tensor]:
    """The loss from −log w of several particles, (K,), and the weight of each in the gradient."""
    if order == 1.0:
        return losses.mean(), torch.full_like(losses, 1.0 / len(losses))
    power = 1.0 - order
    total = torch.logsumexp(-power * losses, 0)
    return -(total - np.log(len(losses))) / power, torch.softmax(-power * losses, 0)
