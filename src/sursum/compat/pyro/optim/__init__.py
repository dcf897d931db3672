"""Pyro's optimisers: torch's by name, each with a mapping of options or a function of a parameter's name.

Imports sursum's public names and the store; `sursum.compat.pyro.infer` imports it.
"""

from functools import partial
from typing import Any

from sursum.compat.pyro._refuse import refusing
from sursum.compat.pyro.optim import clipped_adam, lr_scheduler, optim, pytorch_optimizers
from sursum.compat.pyro.optim.lr_scheduler import PyroLRScheduler
from sursum.compat.pyro.optim.optim import PyroOptim

_MADE = {
    **pytorch_optimizers.optimisers(),
    **pytorch_optimizers.schedules(),
    "ClippedAdam": partial(pytorch_optimizers._optim, clipped_adam.ClippedAdam),
}

__all__ = ["PyroLRScheduler", "PyroOptim", "clipped_adam", "lr_scheduler", "optim", "pytorch_optimizers", *_MADE]

MISSING = {
    "AdagradRMSProp": "write pyro.optim.RMSprop",
    "DCTAdam": "write pyro.optim.Adam",
    "HorovodOptimizer": "write pyro.optim.PyroOptim around your optimiser",
    "LRScheduler": "write PyroLRScheduler",
    "multi": "write a torch optimiser for the leaves of the store",
}


def __getattr__(name: str) -> Any:
    if name in _MADE:
        return _MADE[name]
    return refusing("pyro.optim", __all__, MISSING)(name)
