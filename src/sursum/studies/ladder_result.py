"""`LadderResult`: what each method says about the same quantities, what it took, and why the climb ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.tables import Shown, Table
from sursum.draws.diagnostics import element_name
from sursum.draws.psis import LIMIT
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]

SHOWN = 6
"""How many elements a printed table has columns for."""


@dataclass(frozen=True, repr=False)
class Rung(Shown):
    """One method of a ladder.

    Args:
        method: "mode", "laplace", "pathfinder", "vi" or "nuts".
        posterior: its draws; None for the mode, and where the method failed.
        means: of each quantity, with its shape; the value at the mode for "mode".
        sds: likewise; NaN for "mode".
        pareto_k: of an approximation; None for the mode and for NUTS. It is an estimate.
        change: how far the quantities would move if the method were corrected by importance weights: the largest difference of
            a mean, in sds, or of the logarithm of an sd. None if it cannot be told: k is above 0.7, or there is none.
        seconds: wall time.
        failure: why there is no result; empty if there is one.
        upper_k: the estimate of Pareto k plus two standard errors.
    """

    method: str
    posterior: Posterior | None
    means: Mapping[str, Array]
    sds: Mapping[str, Array]
    pareto_k: float | None
    change: float | None
    seconds: float
    failure: str = ""
    upper_k: float | None = None

    def __repr__(self) -> str:
        if self.failure:
            return f"<Rung: {self.method}, failed: {self.failure}>"
        k = "" if self.pareto_k is None or np.isnan(self.pareto_k) else f", Pareto k {self.pareto_k:.2f}"
        change = "" if self.change is None else f", change {self.change:.2f} sds"
        return f"<Rung: {self.method}, {self.seconds:.2g} s{k}{change}>"

    def is_enough(self, tolerance: float) -> bool:
        """Whether a better method would not change the quantities by more than `tolerance`, as far as weights can tell.

        The weights are believed where `upper_k` is at most 0.7: an estimate of k that is just below that may be of an
        approximation that is not to be trusted.
        """
        if self.posterior is None or self.change is None or self.upper_k is None:
            return False
        return not self.upper_k > LIMIT and self.change <= tolerance


@dataclass(frozen=True, repr=False)
class LadderResult(Shown):
    """The rungs that were climbed.

    Args:
        rungs: in order.
        tolerance: the change of a quantity, in posterior sds, that counts.
        reason: why the climb ended.
    """

    rungs: tuple[Rung, ...]
    tolerance: float
    reason: str

    @property
    def posterior(self) -> Posterior:
        """The draws of the highest rung that has some."""
        found = next((rung.posterior for rung in reversed(self.rungs) if rung.posterior is not None), None)
        assert found is not None  # a ladder whose every rung failed has raised
        return found

    def __getitem__(self, method: str) -> Rung:
        for rung in self.rungs:
            if rung.method == method:
                return rung
        raise KeyError(f"{method!r} was not climbed; there are {', '.join(repr(rung.method) for rung in self.rungs)}")

    def _elements(self) -> list[tuple[str, tuple[int, ...]]]:
        top = next(rung for rung in reversed(self.rungs) if not rung.failure)
        return [(name, place) for name, values in top.means.items() for place in np.ndindex(values.shape)]

    def __str__(self) -> str:
        elements = self._elements()
        shown = elements[:SHOWN]
        rows = [("rung", "seconds", "Pareto k", "change", *(element_name(*one) for one in shown))]
        for rung in self.rungs:
            k = "" if rung.pareto_k is None or np.isnan(rung.pareto_k) else f"{rung.pareto_k:.2f}"
            change = "" if rung.change is None else f"{rung.change:.2f}"
            cells = [f"failed: {rung.failure}"] if rung.failure else [_estimate(rung, *one) for one in shown]
            rows.append((rung.method, f"{rung.seconds:.2f}", k, change, *cells, *[""] * (len(shown) - len(cells))))
        more = f"\n\n{len(elements) - len(shown)} more elements are in `.rungs`." if len(elements) > len(shown) else ""
        return f"{self.reason}\n\n{Table(rows)}{more}"

    __repr__ = __str__

    def plot(self, path: str | os.PathLike[str] | None = None, *, limit: int = 12) -> Any:
        """A plot of each quantity: mean and mean ± 2 sds by each rung.

        Args:
            path: a file to write.
            limit: how many elements to show.

        Returns:
            The matplotlib figure.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        elements = self._elements()[:limit]
        rungs = [rung for rung in self.rungs if not rung.failure]
        wide = min(4, len(elements))
        high = -(-len(elements) // wide)
        size = (2.4 * wide + 1.2, (0.28 * len(rungs) + 0.9) * high + 0.3)
        figure = figures.Figure(figsize=size, layout="constrained")
        grid = figure.subplots(high, wide, squeeze=False, sharey=True).ravel()
        rows = np.arange(len(rungs))[::-1]
        for axes, (name, place) in zip(grid, elements, strict=False):
            means = np.array([rung.means[name][place] for rung in rungs])
            sds = np.array([rung.sds[name][place] for rung in rungs])
            axes.axvline(means[-1], color="0.8", linewidth=0.8, zorder=0)
            axes.errorbar(means, rows, xerr=2 * np.nan_to_num(sds), fmt="o", color="C0", markersize=4, linewidth=1.2)
            axes.set_title(element_name(name, place), fontsize=9)
            axes.tick_params(labelsize=8)
            axes.set_yticks(rows, [rung.method for rung in rungs])
            axes.set_ylim(-0.6, len(rungs) - 0.4)
        for axes in grid[len(elements) :]:
            axes.set_visible(False)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _estimate(rung: Rung, name: str, place: tuple[int, ...]) -> str:
    mean, sd = float(rung.means[name][place]), float(rung.sds[name][place])
    return f"{mean:.3g}" if np.isnan(sd) else f"{mean:.3g} ± {sd:.2g}"
