"""The step size: where it begins, and how it is adapted to the acceptance of the draws."""

from __future__ import annotations

import math
from typing import Any

from sursum.mcmc.kernel.leapfrog import Point, Walk
from sursum.mcmc.kernel.random_numbers import TRIAL, normals

ENOUGH = math.log(0.8)


def begin_averaging(head: Any, step: float) -> None:
    """Adapt from `step` on."""
    head["centre"], head["error"], head["average"], head["updates"] = math.log(10.0 * step), 0.0, math.log(step), 0
    head["step_size"] = step


def average(head: Any, accepted: float) -> None:
    """Dual averaging of the logarithm of the step size.

    References:
        Hoffman & Gelman (2014), JMLR 15, section 3.2, with their constants.
    """
    head["updates"] += 1
    t = float(head["updates"])
    weight = 1.0 / (t + 10.0)
    head["error"] = (1.0 - weight) * head["error"] + weight * (head["target"] - accepted)
    current, share = float(head["centre"] - math.sqrt(t) / 0.05 * head["error"]), t**-0.75
    head["average"] = share * current + (1.0 - share) * head["average"]
    head["step_size"] = math.exp(current)


def find_step(walk: Walk, start: Point, head: Any) -> None:
    """A step whose error in the energy crosses log 0.8, by doubling and halving from the present one."""
    step, direction, n = float(head["step_size"]), 0, len(start.q)
    for trial in range(60):
        p = normals(int(head["key"]), int(head["draw"]), TRIAL, trial * ((n + 1) // 2), n)
        z = walk.point(start.q, p, start.value, start.gradient)
        larger = 1 if z.energy - walk.leapfrog(z, step).energy > ENOUGH else -1
        if direction and larger != direction:
            break
        direction = larger
        step *= 2.0 if direction > 0 else 0.5
    begin_averaging(head, step)
