"""A step as torch runs it: the operators of its loss and of its gradient, one after another, without handlers or autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.compare import compare
from sursum.compiler.graph.cse import merge_equal_nodes
from sursum.compiler.graph.python_codegen import step_line
from sursum.errors import DensityError
from sursum.training.agreement import check_same, movement_of
from sursum.training.folding import fold_steps
from sursum.training.recorder import Lent, Recording, record
from sursum.training.simplify import simplify

#: Told of the gradient by one trained input, by its number.
Told = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class TrainedPoint:
    """The inputs of one run of a step, and the seed of what it draws."""

    inputs: tuple[Tensor, ...]
    seed: int


class Replayed:
    """A captured step.

    Args:
        recording: its first recording.
        trained: by how many of its first inputs it has gradients.
        state: how many of its last inputs it writes into.
    """

    def __init__(self, recording: Recording, trained: int, state: int, device: torch.device) -> None:
        self.inputs, self._trained, self._state = recording.inputs, trained, state
        self.graph = simplify(merge_equal_nodes(fold_steps(recording.graph, recording.inputs, device)))
        self.source, self._run = step_line(self.graph, recording.inputs)
        self._telling: Callable[..., Any] | None = None
        self._generator = torch.Generator(device)

    def __call__(self, inputs: Sequence[Tensor], seed: int, told: Told | None = None) -> tuple[Tensor, ...]:
        """The loss, its gradient by each trained input, and the other results; the state is updated.

        Args:
            told: called with the number of each trained input and the gradient by it, as soon as that is known.

        Raises:
            DensityError: a check of arguments fails.
        """
        generator = self._generator.manual_seed(seed)
        if told is None:
            return self._finish(inputs, *self._run(generator, *inputs))
        if self._telling is None:
            _, self._telling = step_line(self.graph, self.inputs, range(1, 1 + self._trained))
        return self._finish(inputs, *self._telling(generator, lambda number, slope: told(number - 1, slope), *inputs))

    def _finish(self, inputs: Sequence[Tensor], failed: int | None, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if failed is not None:
            where = place(self.graph.guards[failed].where) if failed >= 0 else ""
            raise DensityError(f"a check of arguments fails{where}, so the loss is not defined at these parameters.")
        if not self._state:
            return outputs
        for kept, now in zip(inputs[-self._state :], outputs[-self._state :], strict=True):
            kept.copy_(now)
        return outputs[: -self._state]


def replayed(
    loss: Callable[[Sequence[Tensor]], Sequence[Tensor]], points: tuple[TrainedPoint, TrainedPoint], trained: int, state: int
) -> Replayed:
    """The step whose loss this is, recorded at two points, and held to the program at the second.

    Raises:
        BranchError, EscapeError, CaptureError: it is not a fixed graph of operators.
    """
    device = points[0].inputs[0].device
    generator, lent = torch.Generator(device), Lent()

    def at(point: TrainedPoint) -> Recording:
        return record(loss, point.inputs, trained, state, generator.manual_seed(point.seed), lent)

    first = at(points[0])
    kept = [tensor.clone() for tensor in points[1].inputs[len(points[1].inputs) - state :]]
    second = at(points[1])
    compare(first.graph, second.graph)
    step = Replayed(first, trained, state, device)
    inputs, seed = points[1].inputs[: len(points[1].inputs) - state], points[1].seed
    unit = max((torch.finfo(one.dtype).eps for one in first.graph.values.values() if one.dtype.is_floating_point), default=0.0)
    # A replay writes the state into a copy, as the recorded run has written it into its own inputs.
    mine, after = [tensor.clone() for tensor in kept], points[1].inputs[len(inputs) :]
    found, wanted = (*step((*inputs, *mine), seed), *mine), (*second.found, *after)
    check_same(found, wanted, unit, lambda: movement_of(step, (*inputs, *kept), seed, trained, state, found, unit))
    return step
