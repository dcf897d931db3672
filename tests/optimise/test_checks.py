"""The settings that all optimisers share: checked in one place, and made ints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sursum.errors import HandlerError, OptimisationError
from sursum.optimise.checks import check_settings


@dataclass(frozen=True)
class Method:
    model: Any = print
    engine: Any = None
    seed: Any = None
    num_steps: Any = 10
    num_draws: Any = 20

    def __post_init__(self) -> None:
        check_settings(self, num_steps=10, num_draws=20)


def test_settings_that_hold_become_ints():
    found = Method(engine="torch", seed=np.int64(0), num_steps=np.uint8(1))
    assert (found.seed, found.num_steps, found.num_draws) == (0, 1, 20)
    assert {type(found.seed), type(found.num_steps)} == {int}
    assert Method().seed is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": 3}, "`model` is 3, but must be a program, a callable"),
        ({"engine": "gpu"}, "`engine` is 'gpu', but must be 'native', 'torch' or None"),
        ({"engine": np.zeros(2)}, "`engine` is an array of shape"),
        ({"seed": -1}, "`seed` is -1, but must be an integer of at least 0"),
        ({"num_steps": 0}, "`num_steps` is 0, but must be an integer of at least 1: 10 is usual"),
        ({"num_draws": 1.5}, "`num_draws` is 1.5, but must be an integer of at least 1: 20 is usual"),
    ],
)
def test_settings_that_cannot_be(changes, said):
    with pytest.raises(OptimisationError, match=said):
        Method(**changes)


def test_a_program_that_would_run_later():
    async def late():
        """Never run."""

    with pytest.raises(HandlerError, match="is a coroutine"):
        Method(model=late)
