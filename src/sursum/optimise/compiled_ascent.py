"""An optimiser's steps up a log density in C, as `SVI` takes them: where the loop in C has the optimiser's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.errors import CaptureError, OptimisationError
from sursum.optim import Optim
from sursum.training.batch import Batch
from sursum.training.compiled_steps import CompiledSteps, loop_rule
from sursum.training.packed import PackedLoss, packed
from sursum.training.step import SHAPES, Loss
from sursum.training.training import Training


class CompiledAscent:
    """Takes steps on leaves of its own, in double precision, which start at those of the caller.

    Args:
        loss: the negative log density.
        leaves: the caller's tensors, by name.
        fixed: the arguments of the steps that have no batch.
        explain: raises the error of the program itself at `leaves`, run on a batch, or with None on the fixed arguments; told
            how many steps have been taken.

    Raises:
        CaptureError: the loop in C does not take the steps of the optimiser.
    """

    def __init__(
        self,
        loss: Loss,
        leaves: Mapping[str, Tensor],
        optim: Optim,
        rng_seed: int,
        fixed: tuple[tuple[Any, ...], dict[str, Any]],
        explain: Callable[[Batch | None, int], None],
    ) -> None:
        self._loss, self._theirs, self._fixed, self._explanation = loss, leaves, fixed, explain
        self.training = Training(optim, rng_seed)
        wide = {name: leaf.detach().double().clone().requires_grad_() for name, leaf in leaves.items()}
        self.training.store.unconstrained.update(wide)
        self._known: dict[Hashable, CompiledSteps] = {}
        if loop_rule(self.training) is None:
            raise CaptureError(
                "engine='native' takes the steps of SGD, Adam, AdamW, Adagrad and RMSprop with one learning rate for all "
                "parameters, and of no schedule that looks at the loss. Leave `engine` out."
            )

    def advance(self, steps: int, batch: Batch | None = None) -> None:
        """Take this many steps, on a batch if there is one.

        Raises:
            OptimisationError: the log density or its gradient is not finite.
        """
        found = self.prepare(batch, "native")
        assert found is not None
        found.advance(steps, () if batch is None else [batch])

    def prepare(self, batch: Batch | None, engine: str | None) -> CompiledSteps | None:
        """The steps on batches of this shape; None where there is no C.

        Raises:
            CaptureError, CompileError: the engine was requested but is not available.
        """
        key = None if batch is None else batch.key
        if key not in self._known:
            if len(self._known) >= SHAPES:
                raise CaptureError(f"engine='native': the batches have more than {SHAPES} shapes. Leave `engine` out.")
            goal = packed(self._of(batch), self.training.leaves, batch, engine, "log density")
            if goal.function.native is None:
                return None
            self._known[key] = CompiledSteps(goal, self.training, self._explain, error=OptimisationError)
        return self._known[key]

    def give(self) -> None:
        """Copy the values to the caller's leaves."""
        with torch.no_grad():
            for name, leaf in self.training.leaves.items():
                self._theirs[name].copy_(leaf)

    def _of(self, batch: Batch | None) -> PackedLoss:
        def loss(trained: Mapping[str, Tensor], tensors: Sequence[Tensor]) -> Tensor:
            return self._loss(trained, {}, *(self._fixed if batch is None else batch.arguments(tensors)))

        return loss

    def _explain(self, batch: Batch | None) -> None:
        self.give()
        self._explanation(batch, self.training.steps)
