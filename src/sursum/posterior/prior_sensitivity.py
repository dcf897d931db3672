"""`PriorSensitivity`: how much the posterior moves if prior or likelihood are raised to a power near 1."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.tables import Shown, Table
from sursum.draws.diagnostics import element_name

Array = NDArray[np.float64]

LIMIT = 0.05
"""The sensitivity from which a component counts as influential: Kallioinen et al. (2024), section 4.2."""

LOWEST = 1e-4
"""The smallest sensitivity that a picture shows."""

DELTA = 0.01
"""By how much the power differs from 1."""


@dataclass(frozen=True, repr=False)
class PriorSensitivity(Shown):
    r"""The power-scaling sensitivity of each quantity to the prior and to the likelihood.

    .. math:: p_\alpha(z \mid y) \propto p(y \mid z)\, p(z)^\alpha, \qquad
        D = \frac{\mathrm{CJS}(p_{1/(1+\delta)}, p_1) + \mathrm{CJS}(p_{1+\delta}, p_1)}{2 \log_2(1+\delta)}

    with the cumulative Jensen–Shannon distance CJS of the marginal distributions, and likewise for the likelihood.

    Args:
        prior: D by site, with the shape of the site.
        likelihood: likewise.

    References:
        Kallioinen, Paananen, Bürkner, Vehtari (2024), Detecting and diagnosing prior and likelihood sensitivity with
        power-scaling, Statistics and Computing 34.
    """

    prior: Mapping[str, Array]
    likelihood: Mapping[str, Array]

    def verdict(self, name: str, place: tuple[int, ...] = ()) -> str:
        """What the two sensitivities of an element say: "prior-data conflict", "strong prior or weak data", or nothing."""
        if not self.prior[name][place] >= LIMIT:
            return ""
        return "prior-data conflict" if self.likelihood[name][place] >= LIMIT else "strong prior or weak data"

    def _elements(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name, place) for name, values in self.prior.items() for place in np.ndindex(values.shape)]

    def __str__(self) -> str:
        rows = [("site", "prior", "likelihood", "")]
        for name, place in self._elements():
            prior, likelihood = (f"{values[name][place]:.3f}" for values in (self.prior, self.likelihood))
            rows.append((element_name(name, place), prior, likelihood, self.verdict(name, place)))
        return f"Sensitivity to prior and likelihood; from {LIMIT} on it is worth a look.\n\n{Table(rows)}"

    __repr__ = __str__

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A plot of the sensitivity of each element to the prior against that to the likelihood, with names where it is high.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        figure = figures.Figure(figsize=(5.6, 4.2), layout="constrained")
        axes = figure.subplots()
        elements = self._elements()
        # The axes are logarithmic.
        x, y = (
            np.maximum([values[name][place] for name, place in elements], LOWEST) for values in (self.likelihood, self.prior)
        )
        high = y >= LIMIT
        axes.axhline(LIMIT, color="0.7", linewidth=0.8, linestyle="--")
        axes.axvline(LIMIT, color="0.7", linewidth=0.8, linestyle="--")
        axes.scatter(x[~high], y[~high], color="C0", s=22)
        axes.scatter(x[high], y[high], color="C3", s=30)
        for (name, place), a, b in zip(elements, x, y, strict=True):
            if b >= LIMIT:
                axes.annotate(element_name(name, place), (a, b), xytext=(5, 4), textcoords="offset points", fontsize=8)
        low, top = 0.5 * min(LIMIT, *x, *y), 2.0 * max(LIMIT, *x, *y)
        axes.set(xscale="log", yscale="log", xlim=(low, top), ylim=(low, top))
        axes.set(xlabel="sensitivity to the likelihood", ylabel="sensitivity to the prior")
        axes.text(0.01, 0.99, "strong prior or weak data", transform=axes.transAxes, fontsize=8, color="0.4", va="top")
        axes.text(0.99, 0.99, "prior-data conflict", transform=axes.transAxes, fontsize=8, color="0.4", va="top", ha="right")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def measure(data: Any, sites: Sequence[str], priors: Sequence[str]) -> PriorSensitivity:
    """The sensitivity of `sites` to the priors of `priors` and to the likelihood, by ArviZ.

    Args:
        data: an ArviZ object with the groups posterior, log_prior and log_likelihood.
        sites: which sites to look at.
        priors: which priors to scale.
    """
    arviz = require("arviz", "`prior_sensitivity`")
    if hasattr(arviz, "psense"):

        def ask(group: str, names: Sequence[str] | None) -> Any:
            powers = (1.0 / (1.0 + DELTA), 1.0 + DELTA)
            return arviz.psense(data, var_names=list(sites), group=group, alphas=powers, group_var_names=names)
    else:

        def ask(group: str, names: Sequence[str] | None) -> Any:
            return arviz.psens(data, component=group, component_var_names=names, var_names=list(sites), delta=DELTA)

    found = (ask("prior", list(priors)), ask("likelihood", None))
    return PriorSensitivity(*(_by_site(one, sites) for one in found))


def _by_site(found: Any, sites: Sequence[str]) -> dict[str, Array]:
    """A dataset as arrays; ArviZ 0.x gives a single variable as such."""
    values = found if hasattr(found, "data_vars") else {sites[0]: found}
    return {name: np.asarray(values[name].values, dtype=np.float64) for name in sites}
