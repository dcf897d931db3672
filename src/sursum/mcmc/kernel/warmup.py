"""The warm-up of a chain: scales from the spread of draws and gradients in two overlapping windows, and the step size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.leapfrog import Point
from sursum.mcmc.kernel.state import State
from sursum.mcmc.kernel.step_size import average

Array = NDArray[np.float64]

SHORT, LONG = 10, 80
"""Draws after which the older window is forgotten, early in the warm-up and later."""

FEWEST = 3


def scale_by_gradient(state: State) -> None:
    """Before there are draws: the curvature is about as large as the gradient."""
    with np.errstate(divide="ignore"):
        size = 1.0 / np.sqrt(np.abs(state["gradient"]))
    state["scale"][:] = np.clip(size, 1e-10, 1.0)


def scale_by_windows(state: State) -> None:
    r"""The scales that minimise the Fisher divergence: :math:`S_i^2 = \sqrt{\mathrm{var}(q_i) / \mathrm{var}(g_i)}`.

    References:
        Seyboldt, Carlson & Carpenter (2026), arXiv:2603.18845.
    """
    draws, gradients = state["windows"][1], state["windows"][3]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(np.sqrt(draws / gradients))
    state["scale"][:] = np.where((ratio > 1e-10) & (ratio < 1e10), ratio, state["scale"])


def falls(state: State, sample: Point, gain: float) -> bool:
    """Whether the chain is still on its way to where the mass is. Then it begins again from here."""
    head = state.head
    if not head["adapts_metric"] or head["draw"] >= head["late"] or not gain > 50.0 + 10.0 * np.sqrt(len(sample.q)):
        return False
    state["windows"][:] = 0.0
    head["old_count"], head["new_count"], head["scaled"], head["search"] = 0, 0, 0, 1
    scale_by_gradient(state)
    return True


def adapt(state: State, sample: Point, moved: bool, gain: float, accepted: float, symmetric: float) -> None:
    """After a draw of the warm-up.

    Args:
        gain: by how much its log density is larger than that of the draw before.
        accepted: its mean acceptance.
        symmetric: the mean of 2 min(1, a) / (1 + a) over the ratios a of the densities, which notices steps that are too small.
    """
    if falls(state, sample, gain):
        return
    head, first = state.head, False
    frequency = SHORT if head["draw"] < head["early"] else LONG
    late = head["draw"] + frequency > head["late"]
    if head["adapts_metric"] and head["draw"] < head["late"]:
        if moved:
            for which, count in enumerate(("old_count", "new_count")):
                head[count] += 1
                _observe(state["windows"][4 * which : 4 * which + 4], int(head[count]), sample)
        if head["new_count"] >= frequency and not late:
            state["windows"][:4] = state["windows"][4:]
            state["windows"][4:] = 0.0
            head["old_count"], head["new_count"] = head["new_count"], 0
        if head["old_count"] >= FEWEST:
            scale_by_windows(state)
            first = not head["scaled"]
            head["scaled"] = 1
    average(head, accepted if late else symmetric)
    if first:
        head["search"] = 1
    if head["draw"] == head["num_warmup"] - 1:
        head["step_size"] = np.exp(head["average"])


def _observe(window: Array, count: int, sample: Point) -> None:
    """Welford's update of mean and summed squares, of draws and of gradients."""
    for mean, squares, x in ((window[0], window[1], sample.q), (window[2], window[3], sample.gradient)):
        off = x - mean
        mean += off / count
        squares += off * (x - mean)
