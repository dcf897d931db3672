"""Where a run is looked at, and how long it goes on."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.mcmc.stopping import FIRST, MOST, Ending, Stopping
from sursum.mcmc.until import ess, minutes


def draws(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 8000, 2))[:, :count]


@pytest.mark.parametrize("steps", [[8000], [150, 400, 8000], [*range(1, 8001, 37), 8000]])
def test_the_looks_do_not_depend_on_when_one_looks(steps):
    stopping, found = Stopping(ess(2000), ("a", "b"), 8000), None
    for count in steps:
        found = stopping.enough(draws(count), 0.0)
        if found is not None:
            break
    assert found == Stopping(ess(2000), ("a", "b"), 8000).enough(draws(8000), 0.0)
    assert 900 < found < 2200


def test_the_last_look_is_at_the_end():
    stopping = Stopping(ess(1e9), ("a", "b"), 250)
    assert stopping.enough(draws(FIRST), 0.0) is None
    assert stopping.next_look == 250
    assert stopping.enough(draws(250), 0.0) is None
    stopping = Stopping(ess(1e9), ("a", "b"), 10**6)
    stopping.enough(draws(FIRST), 0.0)
    assert stopping.next_look == MOST * FIRST


def test_an_ending_looks_at_draws_only_where_there_are_enough():
    asked = []
    ending = Ending(Stopping(ess(10) | minutes(1), ("a", "b"), 500), lambda: (asked.append(1), draws(500))[1], thin=2)
    assert not ending.reached(2 * FIRST - 1, 0.0)
    assert asked == []
    assert ending.reached(2 * FIRST, 0.0)
    assert ending.kept == FIRST
    assert ending.said(500)[0].startswith("The run ended after 100 of at most 500 draws of each chain, where ess(10) |")
    late = Ending(Stopping(ess(10) & minutes(1) | minutes(2), ("a", "b"), 500), lambda: draws(50))
    assert not late.reached(50, 61.0)
    assert late.reached(50, 121.0)
    assert late.late
