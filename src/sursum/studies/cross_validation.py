"""`CrossValidation`: predictive densities of what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.tables import Shown
from sursum.errors import SamplingError


@dataclass(frozen=True, repr=False)
class CrossValidation(Shown):
    """The log predictive density of each element, or of each group, given the others.

    Args:
        elpd_each: float64, by element for single elements and random folds, by group for groups.
        pareto_k: by element or group, where importance sampling was tried; empty for random folds.
        refitted: those that were fitted without, since k was above 0.7.
        labels: of the folds: numbers, or the names of groups.
    """

    elpd_each: NDArray[np.float64]
    pareto_k: Mapping[Any, float]
    refitted: tuple[Any, ...]
    labels: tuple[Any, ...]

    @property
    def elpd(self) -> float:
        """Their sum, the expected log predictive density: larger is better."""
        return float(self.elpd_each.sum())

    @property
    def se(self) -> float:
        r"""Its standard error over the n elements or groups, :math:`\sqrt{n} \, \mathrm{sd}`."""
        return float(np.sqrt(len(self.elpd_each)) * self.elpd_each.std(ddof=1))

    def difference(self, other: CrossValidation) -> tuple[float, float]:
        """How much larger the elpd is than that of another program on the same data, and the standard error of that.

        Raises:
            SamplingError: the other is of other data, or of other folds.
        """
        if self.elpd_each.shape != other.elpd_each.shape or self.labels != other.labels:
            raise SamplingError(
                f"cross-validations of {len(self.elpd_each)} and {len(other.elpd_each)} parts cannot be compared: the same "
                "data, left out in the same way, were expected."
            )
        each = self.elpd_each - other.elpd_each
        return float(each.sum()), float(np.sqrt(len(each)) * each.std(ddof=1))

    def __str__(self) -> str:
        how = f"{len(self.refitted)} of {len(self.pareto_k)} by a fit of their own" if self.pareto_k else "by fits of each fold"
        return f"elpd {self.elpd:.1f} ± {self.se:.1f}, {how}"

    def __repr__(self) -> str:
        return f"<CrossValidation: {self}>"
