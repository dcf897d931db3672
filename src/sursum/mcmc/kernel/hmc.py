"""Hamiltonian Monte Carlo: a trajectory of a given length, and a Metropolis decision."""

from __future__ import annotations

import math
from collections.abc import Callable

from sursum.mcmc.kernel.leapfrog import Point, Walk


def draw_by_hmc(walk: Walk, start: Point, size: float, length: float, max_steps: int, decide: Callable[[], float]) -> Point:
    """The draw after `start`: the end of a trajectory, or `start` again.

    Args:
        size: the step size.
        length: the mean length; each trajectory has half of it to one and a half times as much, so that none is a period.
        max_steps: the largest number of leapfrog steps.
        decide: uniform numbers.
    """
    length *= 0.5 + decide()
    count = int(min(max(math.ceil(length / size), 1.0), float(max_steps)))
    z = start
    for _ in range(count):
        z = walk.leapfrog(z, size)
        if not start.energy - z.energy >= -1000.0:
            walk.diverged = True
            break
    walk.observe(-math.inf if walk.diverged else start.energy - z.energy)
    return z if decide() < walk.accepted else start
