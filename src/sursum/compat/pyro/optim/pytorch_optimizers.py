"""Every optimiser and schedule of torch's, by its name."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from sursum.compat.pyro.optim.lr_scheduler import PyroLRScheduler
from sursum.compat.pyro.optim.optim import Options, PyroOptim


def optimisers() -> dict[str, Any]:
    """A function for each optimiser of torch's: from its options to a `PyroOptim`."""
    kinds = {name: value for name, value in vars(torch.optim).items() if isinstance(value, type)}
    return {
        name: partial(_optim, kind)
        for name, kind in kinds.items()
        if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }


def schedules() -> dict[str, Any]:
    """A function for each schedule of torch's: from its options to a `PyroLRScheduler`."""
    module = torch.optim.lr_scheduler
    base = (module.LRScheduler, module.ReduceLROnPlateau)
    kinds = {name: value for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")}
    return {
        name: partial(_schedule, kind)
        for name, kind in kinds.items()
        if issubclass(kind, base) and kind is not module.LRScheduler and name != "LRScheduler"
    }


def _optim(kind: Any, optim_args: Options, clip_args: Options | None = None) -> PyroOptim:
    return PyroOptim(kind, optim_args, clip_args)


def _schedule(kind: Any, optim_args: Options, clip_args: Options | None = None) -> PyroLRScheduler:
    return PyroLRScheduler(kind, optim_args, clip_args)
