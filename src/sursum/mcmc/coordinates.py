"""`ReparamChoice`: which coordinates serve each site, and what each of them costs."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.tables import Shown, Table
from sursum.handlers.reparam import Reparam

CENTRED, NON_CENTRED, PARTIAL, AFFINE = WAYS = ("centred", "non-centred", "partially centred", "affine")

APART = 1.05
"""An R-hat above which a short run tells nothing."""

DIVERGENT = 0.005
"""The share of divergent draws above which a run is not trusted."""


@dataclass(frozen=True, repr=False)
class Pilot(Shown):
    """A short run of the program in some coordinates.

    Args:
        ways: the coordinates of each site.
        draws: of all chains, after the warm-up.
        cost: gradients for each effective draw, of the latent quantity that has the fewest.
        divergences: among the draws.
        r_hat: the largest.
        gradients: in all.
        failure: why there are no draws; empty if there are.
        posterior: the draws, while they are needed.
    """

    ways: tuple[str, ...]
    draws: int
    cost: float
    divergences: int
    r_hat: float
    gradients: int
    failure: str = ""
    posterior: Any = None

    def __repr__(self) -> str:
        if self.failure:
            return f"<Pilot: {', '.join(self.ways)}, failed: {self.failure}>"
        found = f"{self.cost:.3g} gradients for each effective draw, R-hat {self.r_hat:.3f}, {self.divergences} divergences"
        return f"<Pilot: {', '.join(self.ways)}: {found}>"

    @property
    def is_safe(self) -> bool:
        """Whether its draws can be trusted: the chains agree, and hardly any draw diverged."""
        return not self.failure and self.r_hat <= APART and self.divergences <= max(2, DIVERGENT * self.draws)


@dataclass(frozen=True, repr=False)
class SiteChoice(Shown):
    """What was chosen for a site.

    Args:
        name: of the site.
        shape: of the site.
        way: "centred" (as written), "non-centred", "partially centred" or "affine".
        centring: that of each element, if it is partially centred.
        cost: gradients for each effective draw by coordinates of this site, the least that was measured.
    """

    name: str
    shape: tuple[int, ...]
    way: str
    centring: NDArray[np.float64] | None
    cost: Mapping[str, float]

    def __repr__(self) -> str:
        return f"<SiteChoice: {self.name} {self.shape}, {_say_way(self)}>"


@dataclass(frozen=True, repr=False)
class ReparamChoice:
    """The coordinates that short runs found best.

    Args:
        model: the program in these coordinates.
        sites: a row for each site that has a choice.
        pilots: the short runs.
        config: what `su.reparam` takes: ``su.reparam(model, found.config)`` is `model`.
    """

    model: Callable[..., Any]
    sites: tuple[SiteChoice, ...]
    pilots: tuple[Pilot, ...]
    config: Mapping[str, Reparam]

    def __getitem__(self, name: str) -> SiteChoice:
        for one in self.sites:
            if one.name == name:
                return one
        raise KeyError(
            f"{name!r} has no choice of coordinates; {', '.join(repr(one.name) for one in self.sites) or 'none'} has"
        )

    @property
    def gradients(self) -> int:
        """Those of all short runs, without their warm-up."""
        return sum(one.gradients for one in self.pilots)

    def _table(self) -> Table:
        rows = [("site", "shape", "coordinates", *(f"{way}*" if way == CENTRED else way for way in WAYS))]
        for one in self.sites:
            costs = (_number(one.cost[way]) if way in one.cost else "–" for way in WAYS)
            rows.append((one.name, str(one.shape), _say_way(one), *costs))
        return Table(rows)

    def _head(self) -> str:
        if not self.sites:
            return "No site depends on others through a location or a scale: the coordinates are those of the program."
        return "Gradients for each effective draw, by the coordinates of each site."

    def _foot(self) -> str:
        doubtful = "" if any(one.is_safe for one in self.pilots) else " No run could be trusted: R-hat or divergences are high."
        return f"* as written. {len(self.pilots)} short runs, {self.gradients:,} gradients after their warm-up.{doubtful}"

    def __str__(self) -> str:
        return f"{self._head()}\n\n{self._table()}\n\n{self._foot()}" if self.sites else self._head()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = f"<p>{html.escape(self._head())}</p>"
        return f"{head}{self._table()._repr_html_()}<p>{html.escape(self._foot())}</p>" if self.sites else head

    def note(self) -> str:
        """One sentence about it."""
        if not self.sites:
            return self._head()
        return "Coordinates found by short runs: " + ", ".join(f"{one.name} {_say_way(one)}" for one in self.sites) + "."


def _say_way(one: SiteChoice) -> str:
    if one.centring is None:
        return one.way
    low, high = float(one.centring.min()), float(one.centring.max())
    return f"{one.way} {low:.2f}" if low == high else f"{one.way} {low:.2f}–{high:.2f}"


def _number(cost: float) -> str:
    return "failed" if math.isinf(cost) else f"{cost:.3g}"
