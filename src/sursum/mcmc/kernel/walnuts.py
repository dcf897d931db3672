"""The step of WALNUTS: as many leapfrog steps as the energy needs at this point."""

from __future__ import annotations

import math

from sursum.mcmc.kernel.leapfrog import Point, Walk
from sursum.mcmc.kernel.tree import Step


def adaptive_step(walk: Walk, tolerance: float, max_halvings: int) -> Step:
    """A leaf of WALNUTS: the fewest of 1, 2, 4, … leapfrog steps over which the energy stays within `tolerance`.

    The way back must take as many: where fewer would do, the step has no inverse, and the trajectory ends.

    References:
        Bou-Rabee, Carpenter, Kleppe & Liu (2025), arXiv:2506.18746.
    """

    def attempt(z: Point, size: float, count: int) -> tuple[Point, bool]:
        """The last point of `count` steps, and whether the energy stayed within the tolerance."""
        least = most = z.energy
        for _ in range(count):
            z = walk.leapfrog(z, size / count)
            least, most = min(least, z.energy), max(most, z.energy)
            if not most - least <= tolerance:
                return z, False
        return z, True

    def step(z: Point, size: float) -> Point | None:
        walk.leaves += 1
        for halvings in range(max_halvings + 1):
            found, stays = attempt(z, size, 2**halvings)
            if halvings == 0:
                walk.accepted += math.exp(-min(abs(found.energy - z.energy), tolerance))
                walk.symmetric = walk.accepted
            if stays:
                back = (2**fewer for fewer in reversed(range(halvings)))
                return None if any(attempt(found, -size, count)[1] for count in back) else found
        walk.diverged = True
        return None

    return step
