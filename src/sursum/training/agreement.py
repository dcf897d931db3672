"""Whether a captured step has the results of its program, up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sursum.errors import DensityError, EscapeError

#: How many units in the last place a replay may differ from the program, relative to the largest element.
_UNITS = 256.0
#: What is never taken for rounding, however coarse the dtype.
_COARSEST = 2.0**-4
#: How many times as far as a change of the trained inputs by one unit moves a result.
_TIMES = 16.0


class RecordedStep(Protocol):
    """From the inputs and a seed to the loss, its gradients and other results; the state among the inputs is written into."""

    def __call__(self, inputs: Sequence[Tensor], seed: int) -> Sequence[Tensor]: ...


def check_same(
    found: Sequence[Tensor], wanted: Sequence[Tensor], coarsest: float, movement: Callable[[], Sequence[float]]
) -> None:
    """Raise an EscapeError if a replay has other results than the program, beyond rounding.

    Args:
        coarsest: the unit of the coarsest dtype in the step.
        movement: how far each result moves where the inputs do by one unit; asked for only where a result itself is too small
            to explain a difference. A gradient that cancels, such as that of a bias before a normalisation, is what rounding
            leaves of larger numbers.
    """
    moves: Sequence[float] | None = None
    for k, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        if not theirs.is_floating_point() or not theirs.numel():
            continue
        unit = max(torch.finfo(theirs.dtype).eps, coarsest)
        scale = float(torch.nan_to_num(theirs.detach().abs(), posinf=0.0).max())
        far = float(torch.nan_to_num((mine - theirs).abs(), nan=0.0, posinf=0.0).max())
        same = all(torch.equal(kind(mine), kind(theirs)) for kind in (torch.isnan, torch.isposinf, torch.isneginf))
        if same and far > min(_UNITS * unit, _COARSEST) * max(scale, 1.0):
            moves = movement() if moves is None else moves
            same = far <= _TIMES * moves[k]
        if not same:
            what = "loss" if k == 0 else f"result {k}"
            raise EscapeError(
                f"the {what} of the captured step differs from the program's by {far:.3g}: a number that the program "
                "reads outside torch changes from run to run."
            )


def movement_of(
    step: RecordedStep, inputs: Sequence[Tensor], seed: int, trained: int, state: int, found: Sequence[Tensor], unit: float
) -> list[float]:
    """How far each result `found`, the state afterwards among them, moves where every trained input does by `unit` times its
    largest element, up or down.

    Args:
        inputs: those of `found`; the first `trained` of them are moved, and of the last `state` a copy is written into.
    """
    generator = torch.Generator().manual_seed(0)
    moved, kept = list(inputs[:trained]), [tensor.clone() for tensor in inputs[len(inputs) - state :]]
    for k, tensor in enumerate(moved):
        if tensor.numel():
            signs = torch.randint(2, tensor.shape, generator=generator).to(tensor) * 2 - 1
            moved[k] = tensor + unit * tensor.abs().max() * signs
    try:
        beside = (*step((*moved, *inputs[trained : len(inputs) - state], *kept), seed), *kept)
    except DensityError:  # an edge of what is allowed lies between
        return [0.0] * len(found)
    changes = [torch.nan_to_num((one - other).abs(), nan=0.0, posinf=0.0) for one, other in zip(beside, found, strict=True)]
    return [float(change.max()) if change.numel() else 0.0 for change in changes]
