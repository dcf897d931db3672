"""End a run where its condition holds, by what was drawn and not by when one looked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.until import Seen, Until

FIRST = 100
"""Draws of each chain at which conditions are looked at first."""

LEAST, MOST = 1.25, 4.0
"""How many times as many draws there are at the next look."""

Array = NDArray[np.float64]


@dataclass(eq=False)
class Stopping:
    """Looks at a run now and then; where it finds that the condition held depends on the draws alone, not on when it looked.

    The draws at which a condition on them is looked at are fixed by the draws before: the first `FIRST`, then as many as it is
    likely to take. Only time is looked at always.
    """

    until: Until
    coordinates: Sequence[str]
    most: int
    next_look: int = field(default=FIRST, init=False)

    def __post_init__(self) -> None:
        self.next_look = min(FIRST, self.most)

    def is_late(self, minutes: float) -> bool:
        """Whether time alone ends the run."""
        return self.until.factor(Seen(minutes)) <= 1.0

    def enough(self, draws: Array, minutes: float) -> int | None:
        """The number of draws of each chain at which the condition held first; None if it has not yet.

        Args:
            draws: all that every chain has made so far, (chain, draw, n), after the warm-up.
            minutes: since the chains started.
        """
        while draws.shape[1] >= self.next_look:
            factor = self.until.factor(Seen(minutes, draws[:, : self.next_look], self.coordinates))
            if factor <= 1.0:
                return self.next_look
            if self.next_look == self.most:
                return None
            grown = math.ceil(self.next_look * min(max(factor, LEAST), MOST))
            self.next_look = min(grown, self.most)
        return None


@dataclass(eq=False)
class Ending:
    """When a run with `until` ends.

    Args:
        stopping: decides.
        drawn: gives all draws of q after the warm-up that every chain has made so far, (chain, draw, n).
        kept: where the condition held on the draws, how many of each chain are kept.
        thin: of how many draws one is kept.
        late: whether time ended the run.
    """

    stopping: Stopping
    drawn: Callable[[], Array]
    thin: int = 1
    kept: int | None = field(default=None, init=False)
    late: bool = field(default=False, init=False)

    def reached(self, made: int, seconds: float) -> bool:
        """Whether the run ends, if every chain has made about this many draws, `seconds` after they began."""
        if made // self.thin >= self.stopping.next_look and self.kept is None:
            self.kept = self.stopping.enough(self.drawn(), seconds / 60.0)
        self.late = self.kept is None and self.stopping.is_late(seconds / 60.0)
        return self.late or self.kept is not None

    def said(self, num_samples: int) -> tuple[str, str]:
        """A note on where the run ended, and a warning if the condition never held; either may be empty."""
        until = self.stopping.until
        if self.kept is not None:
            return f"The run ended after {self.kept} of at most {num_samples} draws of each chain, where {until!r} held.", ""
        if self.late:
            return f"The run ended before {num_samples} draws of each chain, when {until!r} held by time.", ""
        return "", f"`until={until!r}` did not hold within {num_samples} draws of each chain: raise `num_samples`."
