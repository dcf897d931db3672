"""The next draws of a chain, by NumPy: what the C does, and the sampler where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.hmc import draw_by_hmc
from sursum.mcmc.kernel.leapfrog import Density, Ended, Point, Walk
from sursum.mcmc.kernel.random_numbers import MOMENTUM, Decisions, normals
from sursum.mcmc.kernel.state import State, Transition
from sursum.mcmc.kernel.step_size import find_step
from sursum.mcmc.kernel.tree import draw_from_tree, leapfrog_step
from sursum.mcmc.kernel.walnuts import adaptive_step
from sursum.mcmc.kernel.warmup import adapt, scale_by_gradient

Array = NDArray[np.float64]
#: From a point: the draw after it, the depth of its tree, and whether that is the largest allowed.
Draw = Callable[[Walk, Point, Any, Callable[[], float]], tuple[Point, int, bool]]

GO_ON, REST, NOW = range(3)
"""What a chain is told."""


def _by_nuts(walk: Walk, start: Point, head: Any, decide: Callable[[], float]) -> tuple[Point, int, bool]:
    return draw_from_tree(start, leapfrog_step(walk, start), float(head["step_size"]), int(head["max_depth"]), decide)


def _by_hmc(walk: Walk, start: Point, head: Any, decide: Callable[[], float]) -> tuple[Point, int, bool]:
    size, length, most = float(head["step_size"]), float(head["length"]), int(head["max_steps"])
    return draw_by_hmc(walk, start, size, length, most, decide), 0, False


def _by_walnuts(walk: Walk, start: Point, head: Any, decide: Callable[[], float]) -> tuple[Point, int, bool]:
    step = adaptive_step(walk, float(head["tolerance"]), int(head["max_halvings"]))
    return draw_from_tree(start, step, float(head["step_size"]), int(head["max_depth"]), decide)


TRANSITIONS: Mapping[int, Draw] = {
    Transition.NUTS: _by_nuts,
    Transition.HMC: _by_hmc,
    Transition.WALNUTS: _by_walnuts,
}


def advance(
    state: State, draws: int, density: Density, told: Callable[[], int], positions: Array, gradients: Array | None,
    records: NDArray[np.void],
) -> int:  # fmt: skip
    """Make up to `draws` draws and write them; their number, which is smaller if the chain was told to rest or to stop.

    Args:
        state: the chain, which is changed.
        density: log density and gradient.
        told: what to do, asked at every gradient: `GO_ON`, `REST` after a draw, or give up the draw and stop `NOW`.
        positions, gradients: (draws, n), filled with the draws and the gradients there.
        records: (draws,) of `RECORD`, filled.
    """
    head, n, made = state.head, int(state.head["dim"]), 0
    while made < draws and (told() == GO_ON or (told() == REST and made == 0)):
        try:
            _draw(state, density, lambda: told() == NOW, positions, gradients, records, made, n)
        except Ended:
            break
        head["draw"] += 1
        made += 1
    return made


def _draw(
    state: State, density: Density, stopping: Callable[[], bool], positions: Array, gradients: Array | None,
    records: NDArray[np.void], made: int, n: int,
) -> None:  # fmt: skip
    head = state.head
    tuning = bool(head["draw"] < head["num_warmup"])
    if tuning and head["draw"] == 0 and head["adapts_metric"] and not head["scaled"]:
        scale_by_gradient(state)
    walk = Walk(density, state.metric, stopping)
    key, draw = int(head["key"]), int(head["draw"])
    q, gradient, value = state["position"].copy(), state["gradient"].copy(), float(head["value"])
    if tuning and head["search"]:
        find_step(walk, walk.point(q, np.zeros(n), value, gradient), head)
        head["search"] = 0
    start = walk.point(q, normals(key, draw, MOMENTUM, 0, n), value, gradient)
    sample, depth, full = TRANSITIONS[int(head["kernel"])](walk, start, head, Decisions(key, draw))
    accepted, symmetric = walk.accepted / max(walk.leaves, 1), walk.symmetric / max(walk.leaves, 1)
    error = sample.energy - start.energy
    records[made] = (
        *(sample.value, accepted, float(head["step_size"]), sample.energy, error),
        *(depth, walk.steps, walk.diverged, full, tuning),
    )
    positions[made] = sample.q
    if gradients is not None:
        gradients[made] = sample.gradient
    state["position"][:], state["gradient"][:], head["value"] = sample.q, sample.gradient, sample.value
    if tuning:
        adapt(state, sample, sample is not start, sample.value - start.value, accepted, symmetric)
    head["steps"] += walk.steps
    head["divergences"] += 0 if tuning else walk.diverged
