"""Checks of the settings that `Fit`, `Laplace` and `Pathfinder` share."""

from __future__ import annotations

from typing import Any

from sursum.common.settings import settle, whole_number
from sursum.common.shown import shown
from sursum.compiler.engine import ENGINES
from sursum.core.calling import refuse_coroutines
from sursum.errors import OptimisationError


def check_settings(settings: Any, **usual: int) -> None:
    """Check the program, the engine, the seed and the whole numbers of a method, which has `model`, `engine` and `seed`.

    Args:
        settings: the method, a frozen dataclass.
        usual: for each setting that is an integer of 1 or more, what is usual.

    Raises:
        OptimisationError: a setting that cannot be.
        HandlerError: a program that is a coroutine or a generator.
    """
    if not callable(settings.model):
        raise OptimisationError(
            f"`model` is {shown(settings.model)}, but must be a program, a callable: give the function or `nn.Module`."
        )
    refuse_coroutines(settings.model)
    if not any(settings.engine is engine or settings.engine == engine for engine in ENGINES):
        raise OptimisationError(
            f"`engine` is {shown(settings.engine)}, but must be 'native', 'torch' or None: leave it out for the "
            "fastest there is."
        )
    whole = {
        name: whole_number(name, getattr(settings, name), 1, OptimisationError, f"{value} is usual")
        for name, value in usual.items()
    }
    if settings.seed is not None:
        whole["seed"] = whole_number(
            "seed", settings.seed, 0, OptimisationError, "leave it out for one from torch's global generator"
        )
    settle(settings, whole)
