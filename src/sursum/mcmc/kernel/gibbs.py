"""Whole numbers among the coordinates, each drawn given all the others, before every draw of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.random_numbers import philox, unit
from sursum.mcmc.kernel.reference import GO_ON, REST, advance
from sursum.mcmc.kernel.state import State

Array = NDArray[np.float64]

SWEEP = 3
"""The stream after those of a draw."""

LISTED, WINDOW, STRIDES = 64, 8, 10
"""The most values that are all tried; otherwise how many are, and how many distances there are: 1, 2, 4, …"""


@dataclass(frozen=True, eq=False)
class HeldBlock:
    """Coordinates `first` to `first + count` of those that are held.

    Args:
        draw: all at once, from all coordinates and `noise` uniform numbers; None where they are drawn one by one. In C it is
            a compiled function, and in NumPy what calls it.
    """

    first: int
    count: int
    noise: int = 0
    draw: Any = None


@dataclass(frozen=True, eq=False)
class Sweep:
    """How the coordinates that are held are drawn: blocks in their order.

    Args:
        score: the log density, without its gradient.
        limits: (m, 2), the least and the largest value of each, infinite where there is none.
        blocks: all of them, once.
    """

    score: Any
    limits: Array
    blocks: tuple[HeldBlock, ...]


class _UniformStream:
    """The uniform numbers of one draw's sweep, in order."""

    def __init__(self, key: int, draw: int) -> None:
        self.key, self.draw, self.index = key, draw, 0

    def __call__(self) -> float:
        a, b, _, _ = philox(self.key, self.draw, SWEEP, self.index)
        self.index += 1
        return float(unit(a, b))


def renew(
    q: Array, place: int, limits: Array, now: float, score: Callable[[Array], float], uniform: Callable[[], float]
) -> float:
    r"""Draw coordinate `place` of q given the others; the log density there, which was `now`.

    Where it has few values, z' with probability :math:`p(z', \cdot) / \sum_k p(k, \cdot)`. Otherwise the sum is over a
    window, :math:`z + s (k - o)` for k = 0, …, 7, with a random stride s and place o of the value now: each of its values has
    it with the same probability, so that the draw leaves p as it is. Nothing is cut off.
    """
    here, (low, high) = q[place], limits
    if high - low < LISTED:
        values = low + np.arange(int(high - low) + 1.0)
    else:
        stride = float(2 ** int(STRIDES * uniform() ** 2))
        offset = int(WINDOW * uniform())
        values = here + stride * (np.arange(float(WINDOW)) - offset)
    scores = np.empty(len(values))
    for k, value in enumerate(values):
        q[place] = value
        scores[k] = now if value == here else -np.inf if not low <= value <= high else score(q)
    u, largest = uniform(), scores.max()
    weights = np.exp(scores - largest) if np.isfinite(largest) else np.zeros(len(scores))
    below = weights.cumsum()
    if not below[-1] > 0.0:
        q[place] = here
        return now
    chosen = min(int(np.searchsorted(below, u * below[-1], side="right")), len(values) - 1)
    q[place] = values[chosen]
    return float(scores[chosen])


def sweep(how: Sweep, q: Array, n: int, value: float, key: int, draw: int) -> None:
    """Draw all coordinates of q after the first n, once each; the log density is `value` before."""
    uniform = _UniformStream(key, draw)
    known = True
    for block in how.blocks:
        here = slice(n + block.first, n + block.first + block.count)
        if block.draw is not None:
            noise = np.array([uniform() for _ in range(block.noise)])
            found = block.draw(np.concatenate([q, noise]))
            if np.isfinite(found).all():
                q[here] = found
            known = False
            continue
        value, known = value if known else how.score(q), True
        for place in range(here.start, here.stop):
            value = renew(q, place, how.limits[place - n], value, how.score, uniform)


def advance_held(
    state: State, draws: int, density: Callable[[Array], tuple[float, Array]], told: Callable[[], int], positions: Array,
    gradients: Array | None, records: NDArray[np.void], how: Sweep,
) -> int:  # fmt: skip
    """As `reference.advance`, a sweep before each draw; `positions` have the coordinates that are held behind the others."""
    head, n, made = state.head, int(state.head["dim"]), 0
    while made < draws and (told() == GO_ON or (told() == REST and made == 0)):
        before = float(head["value"]), state["gradient"].copy(), state["held"].copy()
        q = state.point
        sweep(how, q, n, before[0], int(head["key"]), int(head["draw"]))
        value, gradient = density(q)
        if np.isfinite(value) and np.isfinite(gradient).all():
            head["value"], state["gradient"][:], state["held"][:] = value, gradient[:n], q[n:]
        held = state["held"].copy()

        def of_moving(position: Array, held: Array = held) -> tuple[float, Array]:
            value, gradient = density(np.concatenate([position, held]))
            return value, gradient[:n]

        row, slopes = np.empty((1, n)), None if gradients is None else gradients[made : made + 1]
        if n:
            done = advance(state, 1, of_moving, told, row, slopes, records[made : made + 1])
        else:
            tuning = bool(head["draw"] < head["num_warmup"])
            records[made] = (head["value"], 1.0, 0.0, -head["value"], 0.0, 0, 0, 0, 0, tuning)
            head["draw"] += 1
            done = 1
        if not done:  # as if the draw had not begun
            head["value"], state["gradient"][:], state["held"][:] = before
            break
        positions[made] = np.concatenate([row[0], state["held"]])
        made += 1
    return made
