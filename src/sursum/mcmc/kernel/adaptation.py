"""Which metric the warm-up ends with: asked for, or chosen by what its draws show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel import fisher
from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel.state import State

Array = NDArray[np.float64]

KINDS = ("auto", "diagonal", "low_rank", "dense")

FIRST, LAST = 25, 0.85
"""A metric is estimated first from twice as many draws of the warm-up as `FIRST`, without the first of them, for the chain may
have been on its way; then from the second half of twice as many, and so on; the last time after this part of the warm-up."""

WORTH = 2.5
"""By how much a low-rank metric must shorten trajectories to be chosen: it costs a few passes over the coordinates a step."""

DOUBTS = 50
"""Up to this many draws it must shorten them twice as much: few draws see more than there is."""

FEWEST = 20


@dataclass(frozen=True)
class Adaptation:
    """When a warm-up of this many draws looks back, and what it does then.

    The diagonal metric is adapted with every draw by the kernel itself. Later looks have the better estimate, and the last one
    leaves the end of the warm-up to the step size.
    """

    kind: str
    num_warmup: int

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of draws after which a metric is estimated."""
        last = int(LAST * self.num_warmup)
        if self.kind in ("diagonal", "given") or self.num_warmup < 100:
            return ()
        # Not the one before the last where the last would see less than half of the draws that it has.
        early = (FIRST * 2**k for k in range(last.bit_length()))
        return (*(look for look in early if 1.5 * look <= last), last)

    def until(self, draw: int) -> int | None:
        """The next look after `draw`, if there is one."""
        return next((look for look in self.looks if look > draw), None)

    def look(self, state: State, draws: Array, gradients: Array) -> State:
        """The chain as it continues after a look: with another metric, or as it is.

        Args:
            draws, gradients: those since the last look, (N, n).
        """
        if state.head["draw"] == self.looks[0]:
            return state
        moved = np.any(draws[1:] != draws[:-1], axis=1)
        draws, gradients = draws[1:][moved], gradients[1:][moved]
        if len(draws) < FEWEST // 2:
            return state
        try:
            metric = (fisher.dense if self.kind == "dense" else fisher.low_rank)(draws, gradients)
        except np.linalg.LinAlgError:  # draws far apart by many orders of magnitude: the next look has others
            return state
        if self.kind == "auto" and fisher.shortening(metric) < WORTH * (1.0 + DOUBTS / len(draws)):
            adapted = Metric.diagonal(fisher.scales(draws, gradients) ** 2)
            return state if state.head["adapts_metric"] else state.with_metric(adapted, adapts=True)
        return state.with_metric(metric)
