"""The trajectory of the No-U-Turn sampler: a binary tree of points, doubled until it turns back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.leapfrog import Point, Walk
from sursum.mcmc.kernel.turning import turns

Array = NDArray[np.float64]
Step = Callable[[Point, float], Point | None]


@dataclass(frozen=True, eq=False)
class Tree:
    """Points from `first` to `last`; `sample` is one of them by the multinomial weights, whose sum's logarithm is `weight`."""

    first: Point
    last: Point
    sample: Point
    total: Array
    weight: float

    @property
    def ends(self) -> tuple[Array, Array]:
        return self.first.p, self.last.p


def draw_from_tree(
    start: Point, step: Step, size: float, max_depth: int, decide: Callable[[], float]
) -> tuple[Point, int, bool]:
    """The draw after `start`, the depth of its tree, and whether that is the largest allowed.

    Args:
        step: one step of a size, which is negative towards the past; None where the trajectory ends.
        size: the step size.
        decide: uniform numbers.

    References:
        Hoffman & Gelman (2014), JMLR 15. Betancourt (2017), arXiv:1701.02434, appendix A.
    """

    def grow(point: Point, depth: int, towards: float) -> Tree | None:
        """2^depth points after `point`; None where they turn back or end."""
        if depth == 0:
            found = step(point, towards)
            return None if found is None else Tree(found, found, found, found.p, start.energy - found.energy)
        a = grow(point, depth - 1, towards)
        b = None if a is None else grow(a.last, depth - 1, towards)
        if a is None or b is None or turns(a.total, b.total, a.ends, b.ends):
            return None
        weight = log_add(a.weight, b.weight)
        sample = b.sample if decide() < math.exp(b.weight - weight) else a.sample
        return Tree(a.first, b.last, sample, a.total + b.total, weight)

    tree, depth = Tree(start, start, start, start.p, 0.0), 0  # from the past to the future
    while depth < max_depth:
        forward = decide() < 0.5
        more = grow(tree.last if forward else tree.first, depth, size if forward else -size)
        if more is None:
            return tree.sample, depth, False
        depth += 1
        sample = more.sample if decide() < math.exp(min(more.weight - tree.weight, 0.0)) else tree.sample
        turned = turns(tree.total, more.total, tree.ends if forward else tree.ends[::-1], more.ends)
        first, last = (tree.first, more.last) if forward else (more.last, tree.last)
        tree = Tree(first, last, sample, tree.total + more.total, log_add(tree.weight, more.weight))
        if turned:
            return tree.sample, depth, False
    return tree.sample, depth, True


def leapfrog_step(walk: Walk, start: Point) -> Step:
    """A leaf of NUTS: one leapfrog step; the trajectory ends where the energy has grown by 1000."""

    def step(z: Point, size: float) -> Point | None:
        found = walk.leapfrog(z, size)
        gain = start.energy - found.energy
        walk.observe(gain)
        return found if gain >= -1000.0 else None

    return step


def log_add(a: float, b: float) -> float:
    most, least = max(a, b), min(a, b)
    return most if math.isinf(most) else most + math.log1p(math.exp(least - most))
