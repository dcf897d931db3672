"""Points of phase space, and the step from one to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.metric import Metric

Array = NDArray[np.float64]
Density = Callable[[Array], tuple[float, Array]]


class Ended(Exception):
    """The chain was told to stop in the middle of a draw, which is given up."""


@dataclass(frozen=True, eq=False)
class Point:
    """Position q, momentum p, log density, its gradients by q and by p's coordinates, and energy |p|²/2 − log density."""

    q: Array
    p: Array
    value: float
    gradient: Array
    whitened: Array
    energy: float


@dataclass(eq=False)
class Walk:
    """One draw on its way: what it walks with, and what it counts."""

    density: Density
    metric: Metric
    stopping: Callable[[], bool]
    leaves: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    accepted: float = field(default=0.0, init=False)
    symmetric: float = field(default=0.0, init=False)
    diverged: bool = field(default=False, init=False)

    def point(self, q: Array, p: Array, value: float, gradient: Array) -> Point:
        """The point; one where the density is not finite has infinite energy."""
        energy = 0.5 * float(p @ p) - value
        whole = math.isfinite(value) and not math.isnan(energy)
        return Point(q, p, value, gradient, self.metric.inward(gradient), energy if whole else math.inf)

    def leapfrog(self, z: Point, step: float) -> Point:
        r"""The point after one step.

        .. math:: p' = p + \tfrac{e}{2} A^\top g(q), \quad q' = q + e A p', \quad p'' = p' + \tfrac{e}{2} A^\top g(q')

        Raises:
            Ended: the chain was told to stop.
        """
        if self.stopping():
            raise Ended
        self.steps += 1
        half = z.p + 0.5 * step * z.whitened
        q = z.q + step * self.metric.outward(half)
        value, gradient = self.density(q)
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return Point(q, half, value, gradient, gradient, math.inf)
        return self.point(q, half + 0.5 * step * self.metric.inward(gradient), value, gradient)

    def observe(self, gain: float) -> None:
        """Count a leaf whose energy is `gain` below that of the start."""
        self.leaves += 1
        if math.isnan(gain):
            gain = -math.inf
        self.accepted += math.exp(min(gain, 0.0))
        self.symmetric += 2.0 * math.exp(gain) / (1.0 + math.exp(gain)) if gain < 0.0 else 2.0 / (1.0 + _exp(gain))
        self.diverged = self.diverged or not gain >= -1000.0


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.0 else math.inf
