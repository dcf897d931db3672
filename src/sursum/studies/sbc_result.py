"""`SBCResult`: ranks of simulation-based calibration, a test of their uniformity, and a plot.

References:
    Säilynoja, Bürkner, Vehtari (2022), Graphical test for discrete uniformity and its applications in goodness-of-fit
    evaluation and multiple sample comparison, Statistics and Computing 32, section 3.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.tables import Headed, Table
from sursum.draws.arviz import dimension_names
from sursum.draws.diagnostics import element_name
from sursum.studies.uniformity import p_values, panels, plot_ecdf


@dataclass(frozen=True, repr=False)
class SBCResult(Headed):
    """The ranks of simulation-based calibration, and whether they are uniform.

    Args:
        ranks: by site, integers from 0 to L, (simulation, *shape).
        max_rank: L, the number of draws that each rank is among.
        p_values: by site, with the shape of the site: the probability of an ECDF at least this uneven for uniform ranks.
        divergences: the number of simulations with divergent draws.
    """

    ranks: Mapping[str, NDArray[np.int64]]
    max_rank: int
    p_values: Mapping[str, NDArray[np.float64]]
    divergences: int

    @property
    def num_simulations(self) -> int:
        return len(next(iter(self.ranks.values())))

    def passed(self, level: float = 0.01) -> bool:
        """Whether no quantity is too uneven; `level` is the probability of a false alarm, for all quantities together."""
        smallest, count = self._smallest()
        return smallest >= level / count

    def _smallest(self) -> tuple[float, int]:
        every = np.concatenate([values.ravel() for values in self.p_values.values()])
        return float(every.min()), every.size

    def _table(self) -> Table:
        rows = [("site", "p", "mean rank / L", "sd")]
        for name, values in self.p_values.items():
            for place in np.ndindex(values.shape):
                scaled = self.ranks[name][(slice(None), *place)] / self.max_rank
                # The smallest p-value that 2,000 reference samples can resolve is 1 / 2,001.
                cells = (
                    "<0.001" if values[place] < 0.001 else f"{values[place]:.3f}",
                    f"{scaled.mean():.3f}",
                    f"{scaled.std():.3f}",
                )
                rows.append((element_name(name, place), *cells))
        return Table(rows)

    def _head(self) -> str:
        verdict = "passed" if self.passed() else "FAILED: the ranks are not uniform"
        head = f"{self.num_simulations} simulations, ranks among {self.max_rank} draws: {verdict}."
        wrong = f" {self.divergences} of them had divergences." if self.divergences else ""
        return f"{head}{wrong} If all is well, mean ranks are near 0.5 and their sd near 0.289."

    def to_arviz(self) -> Any:
        """The ranks in ArviZ's form, an `xarray.DataTree` with a group `prior_sbc`, as `simuk` makes it.

        A rank r is the probability integral transform (r + 1/2) / (L + 1), float64 (1, simulation, *shape), uniform on 0 to 1
        if all is well: ``arviz_plots.plot_ecdf_pit(found.to_arviz())`` draws them all.

        Raises:
            MissingPackageError: xarray is not installed.

        Example:
            >>> import numpy as np
            >>> found = SBCResult({"mu": np.array([0, 9, 4])}, 9, {"mu": np.array(0.5)}, 0)
            >>> found.to_arviz()["prior_sbc"]["mu"].values
            array([[0.05, 0.95, 0.45]])
        """
        xarray = require("xarray", "`to_arviz`")
        names = dimension_names({name: ranks.ndim - 1 for name, ranks in self.ranks.items()}, {})
        values = {
            name: (
                ("chain", "draw", *names[name]),
                (ranks[None] + 0.5) / (self.max_rank + 1),
            )
            for name, ranks in self.ranks.items()
        }
        data = xarray.Dataset(values, attrs={"inference_library": "sursum"})
        return xarray.DataTree.from_dict(
            {"/prior_sbc": data.assign_coords({name: np.arange(n) for name, n in data.sizes.items()})}
        )

    def plot(self, path: str | os.PathLike[str] | None = None, *, sites: Iterable[str] | None = None) -> Any:
        """A plot of each quantity: the ECDF of its ranks minus that of uniform ones, and the band that contains 95 % of these.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        names = list(self.ranks) if sites is None else list(sites)
        columns = [(name, place) for name in names for place in np.ndindex(self.p_values[name].shape)]
        wide = min(4, len(columns))
        high = -(-len(columns) // wide)
        figure = figures.Figure(figsize=(3.0 * wide + 0.6, 2.3 * high + 0.6), layout="constrained")
        grid = panels(figure, len(columns))
        for axes, (name, place) in zip(grid, columns, strict=True):
            plot_ecdf(axes, _uniform(self.ranks[name][(slice(None), *place)], self.max_rank), "ranks")
            axes.set_title(f"{element_name(name, place)}   p = {self.p_values[name][place]:.2f}", fontsize=9)
        grid[0].legend(frameon=False, fontsize=7)
        figure.supxlabel("rank / (L + 1)")
        figure.supylabel("ECDF − uniform")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _uniform(ranks: NDArray[np.int64], max_rank: int) -> NDArray[np.float64]:
    """Ranks as numbers that are uniform on (0, 1) if the ranks are on 0, …, L: jittered within its bin, by a fixed seed."""
    noise = np.random.default_rng(len(ranks)).uniform(size=ranks.shape)
    uniform: NDArray[np.float64] = (ranks + noise) / (max_rank + 1)
    return uniform


def rank_p_values(ranks: NDArray[np.int64], max_rank: int) -> NDArray[np.float64]:
    """For each quantity of (simulation, *shape), the fraction of uniform ranks that are at least as uneven."""
    return p_values(_uniform(ranks, max_rank))
