"""SVI over ranks: that they are about to do the same, before the first step, and what cannot be divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from sursum.core.calling import valued
from sursum.distributed.division import Division, division_of
from sursum.distributed.gradients import Gradients, check_sum
from sursum.distributed.group import SAME_DATA, RankGroup, is_distributed, shown_data
from sursum.distributed.shard import sharded
from sursum.errors import ShardError
from sursum.handlers import seed
from sursum.training import seeds
from sursum.training.training import Training
from sursum.vi.bound import Bound
from sursum.vi.draws import Parts
from sursum.vi.particle import Pair


def meet(bound: Bound, training: Training, args: Sequence[Any], kwargs: Mapping[str, Any]) -> RankGroup | None:
    """Before anything is run: that the ranks have the same program and data. They take the seed of rank 0.

    Returns:
        The group of ranks; None in a single process, or for a program that is not divided.

    Raises:
        ShardError: a rank has a different program, settings or data.
    """
    model = sharded(bound.model) if is_distributed() else None
    if model is None:
        return None
    group = RankGroup()
    group.compare({"program": repr(bound.model), "bound": repr(bound.loss), "optimiser": repr(training.optim)})
    own = model.split is not None and not model.split
    if not own:
        group.compare({"data": shown_data(args, kwargs)}, SAME_DATA)
    training.seed = group.gather(training.seed)[0]
    return group


def join(
    bound: Bound, training: Training, group: RankGroup, first: Pair, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """After the first run: divide the loss, and take the parameters of rank 0.

    Raises:
        ShardError: a rank has different parameters or has taken another number of steps; the bound, or the program, cannot be
            divided.
    """
    if bound.loss.order != 1.0 and bound.loss.num_particles > 1:
        raise ShardError(
            f"{bound.loss!r} is not a sum over rows, so that ranks cannot share it. Use Trace_ELBO or TraceMeanField_ELBO."
        )
    if bound.scored is not None:
        raise ShardError(
            f"draws of site {bound.scored!r} cannot be differentiated: their gradient needs the loss of all ranks at once. Use "
            "one process, or a guide whose draws can be differentiated."
        )
    shapes = {name: tuple(leaf.shape) for name, leaf in training.leaves.items()}
    group.compare({"set of parameters": shapes, "number of steps taken": training.steps}, _SAME_START)
    bound.division = division_of(bound.model, first.model, args, kwargs)
    training.gradients = Gradients(training.leaves)
    training.agree()
    if bound.division is not None and bound.division.places is not None:
        _check_sum(bound, training, args, kwargs)


_SAME_START = "Run the same script on every rank, and load the same checkpoint on every rank."


def _check_sum(bound: Bound, training: Training, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise ShardError unless the losses of all ranks add up to that of the whole program."""
    assert training.gradients is not None

    def estimated(one: Bound) -> torch.Tensor:
        number = seeds.derive(training.seed, seeds.EVALUATE, 0)
        with valued(), training.store, seed(rng_seed=number), torch.no_grad():
            return one.estimate(args, kwargs, {name: value.clone() for name, value in training.baselines.items()})

    part = estimated(bound)
    whole = estimated(replace(bound, division=None))
    check_sum(training.gradients, float(part), whole)


def own_rows(division: Division | None, model: Callable[..., Any], guide: Callable[..., Any]) -> Parts | None:
    """The terms of this rank in draws, where each rank has its own rows."""
    if division is None or division.places is not None:
        return None

    def total(columns: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return Gradients(columns).total(0.0, columns)[1]

    return Parts((division.model(model), division.guide(guide)), total)
