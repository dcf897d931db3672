"""What is said of a run that is going on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sursum.common.progress import Display, NoProgress, ProgressState
from sursum.mcmc.trace import Progress


class Watcher(Protocol):
    """Who is told how far the chains have come."""

    def update(self, chains: Sequence[Progress]) -> None:
        """The state of all chains, those that wait included; called many times a second."""

    def close(self) -> None:
        """Called when the run has ended, for any reason."""


@dataclass(eq=False)
class Line:
    """Shows all chains as one line, with the time that is left."""

    draws_per_chain: int
    display: Display = field(default_factory=NoProgress)
    _began: float = field(default_factory=time.monotonic, init=False)

    def update(self, chains: Sequence[Progress]) -> None:
        self.display.update(lambda: self.state(chains))

    def close(self) -> None:
        self.display.close()

    def state(self, chains: Sequence[Progress]) -> ProgressState:
        """The present state.

        Example:
            >>> line = Line(200).state([Progress(200, 3, 900, 0.5, False), Progress(100, 0, 400, 0.4, True)])
            >>> line.words[:4]
            ('2 chains', '300/400 draws', '3 divergences', 'step size 0.40–0.50')
        """
        done, total = sum(chain.draws for chain in chains), self.draws_per_chain * len(chains)
        words = [
            f"{len(chains)} chain" + "s" * (len(chains) != 1),
            f"{done}/{total} draws",
            f"{sum(chain.divergences for chain in chains)} divergences",
        ]
        sizes = [chain.step_size for chain in chains if chain.draws]
        if sizes:
            low, high = f"{min(sizes):.2f}", f"{max(sizes):.2f}"
            words.append(f"step size {low}" if low == high else f"step size {low}–{high}")
        elapsed = time.monotonic() - self._began
        words.append(f"{_clock(elapsed)} gone" if done == total else f"{_time_left(elapsed, done, total)} left")
        return ProgressState(done, total, tuple(words))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _time_left(elapsed: float, done: int, total: int) -> str:
    return _clock(elapsed * (total - done) / done) if done else "–"
