"""The engines that take the steps: a loop in C, the captured graph step by step, or the programs themselves."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sursum.compiler.native.library.blas import one_thread
from sursum.core.calling import valued
from sursum.errors import CaptureError, EngineWarning, VariationalError
from sursum.handlers import seed
from sursum.vi import seeds
from sursum.vi.compiled_loop import TrainingLoop, rule_of
from sursum.vi.elbo import ELBO
from sursum.vi.noise import Noise, block
from sursum.vi.objective import Objective, objective
from sursum.vi.particle import Pair, Program, must_be_eager, pair
from sursum.vi.training import Training, check_depends

ENGINES = (None, "native", "torch", "eager")

_BLOCK = 2**18
_LONGEST = 1024


class Engine(Protocol):
    """Something that takes steps."""

    name: str

    def advance(self, steps: int) -> None:
        """Take this many steps."""

    def still_right(self) -> bool:
        """Whether the programs have not changed since this engine was created."""


class Eager:
    """Runs the programs at every step, handlers and all."""

    name = "eager"

    def __init__(
        self, loss: ELBO, model: Program, guide: Program, training: Training, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self.loss, self.programs, self.training, self.called = loss, (model, guide), training, (args, kwargs)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def still_right(self) -> bool:
        return True

    def _step(self) -> None:
        training = self.training
        with torch.inference_mode(False), torch.enable_grad():
            number = seeds.derive(training.seed, seeds.STEP, training.steps)
            with training.store, seed(rng_seed=number):
                loss = self.loss.estimate(*self.programs, *self.called, training.baselines)
            leaves = training.leaves
            check_depends(loss)
            slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        found = dict(zip(leaves, slopes, strict=True))
        check_slopes(found)
        training.descend(float(loss.detach()), found)


class Captured:
    """Runs the captured loss: in C, many steps per call, if the loop implements the optimiser; otherwise step by step.

    Noise is drawn in blocks of steps, each from a generator of (seed, block), so that a run may stop and resume anywhere.
    """

    def __init__(self, loss: ELBO, goal: Objective, training: Training, explain: Callable[[Tensor], None]) -> None:
        self.loss, self.goal, self.training, self.explain = loss, goal, training, explain
        self.name = goal.function.engine
        width = max(goal.noise * loss.num_particles, 1)
        self._rows = max(1, min(_LONGEST, _BLOCK // width))
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0))
        optimizer = training.ready()
        rule = self._rule = rule_of(optimizer)
        plateau = isinstance(training.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        self._loop: TrainingLoop | None = None
        if goal.function.native is not None and rule is not None and not plateau:
            clip = (training.optim.clip_value or 0.0, training.optim.clip_norm or 0.0)
            self._loop = TrainingLoop(goal, loss.num_particles, loss.order, rule, clip)

    def still_right(self) -> bool:
        """Whether the programs still have the captured loss: data may have been written to, or a number that they read
        from outside may have changed."""
        if rule_of(self.training.ready()) != self._rule:
            return False  # the optimiser has been changed
        row = self._noise(self.training.steps)[0].reshape(self.loss.num_particles, -1)[0]
        q = torch.cat([torch.from_numpy(self.goal.coordinates()), row])
        with valued():
            now, then = float(self.goal.particle(q).detach()), self.goal.loss_and_grad(q)[0]
        exact = all(site.initial is None or site.initial.dtype is torch.float64 for site in self.goal.store.sites.values())  # type: ignore[union-attr]
        return abs(now - then) <= (1e-9 if exact else 1e-4) * max(1.0, abs(then))

    def advance(self, steps: int) -> None:
        with one_thread():  # with more threads matrix products have other bits
            while steps:
                noise = self._noise(self.training.steps)[:steps]
                if self._loop is None:
                    self._step(noise[0])
                    steps -= 1
                else:
                    self._many(self._loop, noise)
                    steps -= len(noise)

    def _noise(self, step: int) -> Tensor:
        """The noise of this step and the rest of its block: (steps, particles · noise)."""
        number, row = divmod(step, self._rows)
        if self._drawn[0] != number:
            drawn = block(
                list(self.goal.kinds) * self.loss.num_particles,
                self._rows,
                seeds.derive(self.training.seed, seeds.NOISE, number),
            )
            self._drawn = (number, drawn)
        return self._drawn[1][row:]

    def _many(self, loop: TrainingLoop, noise: Tensor) -> None:
        training = self.training
        optimizer = training.ready()
        before = copy.deepcopy(_schedule_state(training))
        rates = np.empty(len(noise))
        for k in range(len(noise)):
            rates[k] = optimizer.param_groups[0]["lr"]
            training.schedule(0.0)
            if training.scheduler is None:
                rates[:] = rates[0]
                break
        losses = np.empty(len(noise))
        taken = loop.steps(np.ascontiguousarray(noise.numpy()), rates, losses, optimizer)
        training.losses.frombytes(losses[:taken].tobytes())
        if taken < len(noise):
            if training.scheduler is not None:
                training.scheduler.load_state_dict(before)
                for group in optimizer.param_groups:
                    group["lr"] = rates[taken]
            self.explain(noise[taken])

    def _step(self, noise: Tensor) -> None:
        point = torch.from_numpy(self.goal.coordinates())
        rows = noise.reshape(self.loss.num_particles, -1)
        found = [self.goal.loss_and_grad(torch.cat([point, row])) for row in rows]
        losses = torch.tensor([loss for loss, _ in found], dtype=torch.float64)
        slopes = torch.stack([slope for _, slope in found])
        loss, weights = join_losses(losses, self.loss.order)
        slope = weights @ slopes
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(slope).all()):
            self.explain(noise)
        self.training.descend(float(loss), dict(self.goal.split(slope)))


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


def engine_for(
    asked: str | None,
    loss: ELBO,
    model: Program,
    guide: Program,
    training: Training,
    first: Pair,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Engine:
    """The engine of that name; None is the fastest available.

    Args:
        first: the traces of a first run, which show whether the loss can be captured at all.

    Raises:
        CaptureError, CompileError: the engine was requested but is not available.

    Warns:
        EngineWarning: the programs run at every step, for a reason that is not apparent from them.
    """
    if asked == "eager":
        return Eager(loss, model, guide, training, args, kwargs)
    reason = must_be_eager(first)
    if type(loss).estimate is not ELBO.estimate:
        reason = f"{type(loss).__name__} has a custom estimate"
    if reason is not None:
        if asked is None:
            return Eager(loss, model, guide, training, args, kwargs)
        raise CaptureError(f"engine={asked!r} cannot run this: {reason}. Leave `engine` out to run the programs themselves.")
    try:
        goal = objective(loss, model, guide, training.store, args, kwargs, asked)
    except CaptureError as error:
        if asked is not None:
            raise
        warnings.warn(f"the programs are run by Python at every step, which is slow: {error}", EngineWarning, stacklevel=4)
        return Eager(loss, model, guide, training, args, kwargs)
    return Captured(loss, goal, training, _explainer(loss, model, guide, training, args, kwargs))


def _explainer(
    loss: ELBO, model: Program, guide: Program, training: Training, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Callable[[Tensor], None]:
    """A function that explains why a step with this noise failed: it runs the programs with the same noise, and raises."""

    def explain(noise: Tensor) -> None:
        with torch.enable_grad():
            for row in noise.reshape(loss.num_particles, -1):
                with training.store, Noise(row):
                    drawn = pair(model, guide, args, kwargs)
                bound = loss.log_weight(drawn, None)
                drawn.check_finite(bound)
                leaves = training.leaves
                check_slopes(
                    dict(zip(leaves, torch.autograd.grad(bound, list(leaves.values()), allow_unused=True), strict=True))
                )
        raise VariationalError(
            "the loss or its gradient is not finite in double precision, although the programs themselves give finite "
            "numbers there. The parameters are those before this step. Lower the learning rate, or clip gradients."
        )

    return explain


def _schedule_state(training: Training) -> Any:
    return None if training.scheduler is None else training.scheduler.state_dict()
