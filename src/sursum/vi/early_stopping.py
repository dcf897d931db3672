"""`EarlyStopping`: stop when the loss no longer improves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sursum.common.settings import real_number, settle, whole_number
from sursum.errors import VariationalError


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the mean losses of `patience` consecutive windows are no better than the best before them.

    Better is lower by more than `tolerance`, relative to the size of the loss. The decision depends only on the losses,
    so a resumed run stops where an uninterrupted one does.

    Args:
        window: steps per window, over which the noise of the loss is averaged.
        patience: windows without gain before the run stops.
        tolerance: the relative gain that counts.

    Raises:
        VariationalError: a setting outside its range.

    Example:
        >>> stopping = EarlyStopping(window=2, patience=1)
        >>> stopping.stops([3.0, 2.0, 1.0, 1.0]), stopping.stops([1.0] * 4)
        (False, True)
    """

    window: int = 100
    patience: int = 3
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("window", "patience"):
            remedy = "leave it out for the default"
            settle(self, {name: whole_number(name, getattr(self, name), 1, VariationalError, remedy)})
        real_number("tolerance", self.tolerance, VariationalError, "leave it out for the default", least=0)

    def stops(self, losses: Sequence[float]) -> bool:
        """Whether a run with these losses, a whole number of windows, ends here."""
        whole = len(losses) // self.window
        if whole <= self.patience:
            return False
        means = np.asarray(losses[: whole * self.window]).reshape(whole, self.window).mean(axis=1)
        best, last = means[: -self.patience].min(), means[-self.patience :].min()
        return bool(last > best - self.tolerance * max(abs(best), 1.0))
