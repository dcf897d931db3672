"""Learning-rate schedules: a torch scheduler for every parameter's optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sursum.compat.pyro.optim.optim import Options, PyroOptim, options_of
from sursum.errors import OptimisationError


class PyroLRScheduler(PyroOptim):
    """A schedule, which `step` advances: after each epoch, or as the program likes.

    Args:
        scheduler_constructor: a torch scheduler's class.
        optim_args: ``{"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.01}, …}`` with the options of the schedule.
        clip_args: as of `PyroOptim`.

    Example:
        >>> import torch, sursum.compat.pyro as pyro
        >>> schedule = pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.1}, "gamma": 0.5})
    """

    def __init__(self, scheduler_constructor: Any, optim_args: Options, clip_args: Options | None = None) -> None:
        super().__init__(scheduler_constructor, optim_args, clip_args)
        if not callable(optim_args):
            _split(optim_args)
        self._schedules: dict[Tensor, Any] = {}

    def _made(self, name: str, leaf: Tensor) -> torch.optim.Optimizer:
        make, options, schedule = _split(options_of(self.pt_optim_args, name, "optim_args"))
        made: torch.optim.Optimizer = make([leaf], **(options_of(options, name, "optim_args")))
        made._opt_called = True  # type: ignore[attr-defined]  # torch warns of schedules that advance before a step
        self._schedules[leaf] = self.pt_optim_constructor(made, **schedule)
        return made

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Advance the schedules; a plateau's takes the loss."""
        for schedule in self._schedules.values():
            schedule.step(*args, **kwargs)

    def get_state(self) -> dict[str, Any]:
        return {
            self._names[leaf]: {"optimizer": made.state_dict(), "scheduler": self._schedules[leaf].state_dict()}
            for leaf, made in self.optim_objs.items()
        }

    def set_state(self, state_dict: Mapping[str, Any]) -> None:
        super().set_state({name: state.get("optimizer", state) for name, state in state_dict.items()})
        for leaf, schedule in self._schedules.items():
            state = state_dict.get(self._names[leaf], {}).get("scheduler")
            if state is not None:
                schedule.load_state_dict(state)


def _split(given: Mapping[str, Any]) -> tuple[Any, Options, dict[str, Any]]:
    rest = dict(given)
    if "optimizer" not in rest:
        raise OptimisationError(
            "a schedule needs the optimiser that it is of: {'optimizer': torch.optim.Adam, 'optim_args': {'lr': 0.01}, …}."
        )
    return rest.pop("optimizer"), rest.pop("optim_args", {}), rest
