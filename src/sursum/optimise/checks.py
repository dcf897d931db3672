"""Checks of the settings that `Fit`, `Laplace` and `Pathfinder` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sursum.common.settings import optional_seed, settle, whole_number
from sursum.compiler.engine import ENGINES, check_engine
from sursum.core.calling import check_program
from sursum.errors import OptimisationError


def check_settings(settings: Any, engines: Sequence[str | None] = ENGINES, **usual: int) -> None:
    """Check the program, the engine, the seed and the integers of a method, which has `model`, `engine` and `seed`.

    Args:
        settings: the method, a frozen dataclass.
        engines: those that it has.
        usual: for each setting that is an integer of at least 1, its usual value.

    Raises:
        OptimisationError: an invalid setting.
        HandlerError: a program that is a coroutine or a generator.
    """
    check_program("model", settings.model, OptimisationError)
    check_engine(settings.engine, OptimisationError, engines)
    whole: dict[str, int | None] = {
        name: whole_number(name, getattr(settings, name), 1, OptimisationError, f"{value} is usual")
        for name, value in usual.items()
    }
    settle(settings, whole | {"seed": optional_seed(settings.seed, OptimisationError)})
