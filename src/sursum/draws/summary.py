"""The table of a posterior: mean, sd, quantiles, effective sample sizes and R-hat of every site."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.tables import html_table
from sursum.draws.diagnostics import element_name
from sursum.draws.measure import measure_by_name
from sursum.draws.measures import NUMBERS
from sursum.io.lazy_draws import batches

COLUMNS = ("mean", "sd", "5%", "50%", "95%", "ess_bulk", "ess_tail", "r_hat")

Statistics = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Summary(Mapping[str, Statistics]):
    """A table that can be printed and read by name: `summary["theta"]["mean"]` has the shape of the site.

    For a site of more than `limit` elements only the first and last ones are printed; its statistics contain all of them.
    `warnings` are printed below the table.

    Example:
        >>> import numpy as np
        >>> table = summarise({"mu": np.random.default_rng(0).normal(size=(4, 500))}, warnings=("Mind the gap.",))
        >>> round(float(table["mu"]["sd"]), 1), table["mu"]["r_hat"].shape
        (1.0, ())
        >>> print(table)  # doctest: +ELLIPSIS
             mean  ...  r_hat
        mu ...
        <BLANKLINE>
        Mind the gap.
    """

    statistics: Mapping[str, Statistics]
    warnings: tuple[str, ...]
    limit: int = 12

    def __getitem__(self, name: str) -> Statistics:
        return self.statistics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.statistics)

    def __len__(self) -> int:
        return len(self.statistics)

    def __str__(self) -> str:
        rows = [("", *COLUMNS), *self._rows()]
        first = max(len(row[0]) for row in rows)
        widths = [max(len(row[i]) for row in rows if len(row) > i) for i in range(1, len(COLUMNS) + 1)]
        lines = [
            "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=False))])
            for row in rows
        ]
        table = "\n".join(line.rstrip() for line in lines)
        return "\n\n".join([table, "\n".join(self.warnings)]) if self.warnings else table

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(text)}</p>" for text in self.warnings)
        return html_table(("", *COLUMNS), self._rows()) + notes

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name, statistics in self.statistics.items():
            shape = statistics["mean"].shape
            digits = _decimals(statistics["sd"])
            places = list(np.ndindex(*shape))
            shown = places if len(places) <= self.limit else [*places[: self.limit - 2], None, *places[-1:]]
            for place in shown:
                if place is None:
                    yield (f"… {len(places) - self.limit + 1} more",)
                    continue
                values = (float(statistics[column][place]) for column in COLUMNS)
                cells = (_cell(column, value, digits) for column, value in zip(COLUMNS, values, strict=True))
                yield (element_name(name, place), *cells)


def summarise(sites: Mapping[str, NDArray[Any]], *, warnings: tuple[str, ...] = (), limit: int = 12) -> Summary:
    """The table of draws of shape (chain, draw, *shape) by site name, any real, integer or boolean dtype."""
    # A site without elements, such as in an empty plate, has no row.
    arrays = {name: draws for name, draws in sites.items() if 0 not in draws.shape[2:]}
    statistics: dict[str, Statistics] = {}
    for some in batches(arrays):
        for name, numbers in measure_by_name(some, with_moments=True).items():
            by_name = dict(zip(NUMBERS, numbers, strict=True))
            statistics[name] = {column: by_name[column] for column in COLUMNS}
    return Summary(statistics, warnings, limit)


def _decimals(sd: NDArray[np.float64]) -> int:
    """The number of decimals that shows the smallest sd of a site to three digits."""
    spread = sd[np.isfinite(sd) & (sd > 0)]
    if spread.size == 0:
        return 2
    return int(np.clip(2 - np.floor(np.log10(spread.min())), 0, 6))


def _cell(column: str, value: float, digits: int) -> str:
    if np.isnan(value):
        return "-"
    if column in ("ess_bulk", "ess_tail"):
        return f"{value:.0f}"
    if column == "r_hat":
        return f"{value:.3f}"
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"
