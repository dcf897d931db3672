r"""`loo_pit`: whether each observation is a typical draw of its prediction from the others.

References:
    Gelfand, Dey, Chang (1992), Model determination using predictive distributions with implementation via sampling-based
    methods, Bayesian Statistics 4. Czado, Gneiting, Held (2009), Predictive model assessment for count data, Biometrics 65.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.settings import optional_seed
from sursum.common.tables import Headed, Table
from sursum.draws.psis import LIMIT, smooth
from sursum.errors import PredictionError
from sursum.mcmc.seeds import draw_seed
from sursum.posterior.posterior import Posterior
from sursum.studies.uniformity import p_values, panels, plot_ecdf

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class LooPit(Headed):
    """The place of each observation in its prediction from the others, uniform on (0, 1) if the program is right.

    Crowding at both ends says that predictions are too narrow, in the middle too wide, at one end biased.

    Args:
        values: by observed site, of its shape.
        p_values: by observed site: the probability of an ECDF at least as uneven as that of its values.
        pareto_k: by observed site, of its shape; above 0.7 a value cannot be trusted.
    """

    values: Mapping[str, Array]
    p_values: Mapping[str, float]
    pareto_k: Mapping[str, Array]

    def _table(self) -> Table:
        rows = [("site", "values", "p", "mean", "sd", f"k > {LIMIT}")]
        for name, found in self.values.items():
            p = "<0.001" if self.p_values[name] < 0.001 else f"{self.p_values[name]:.3f}"
            doubtful = int((self.pareto_k[name] > LIMIT).sum())
            rows.append((name, str(found.size), p, f"{found.mean():.3f}", f"{found.std():.3f}", str(doubtful)))
        return Table(rows)

    def _head(self) -> str:
        return "Observations in their predictions from the others. If all is well, the mean is near 0.5 and the sd near 0.289."

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A plot of each site: the ECDF of its values minus the uniform one, and the band that contains 95 % of uniform ones.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        count = len(self.values)
        figure = figures.Figure(figsize=(3.6 * min(4, count) + 0.6, 2.8 * -(-count // 4) + 0.4), layout="constrained")
        for axes, (name, found) in zip(panels(figure, count), self.values.items(), strict=True):
            plot_ecdf(axes, found.ravel(), "values")
            axes.set_title(f"{name}   p = {self.p_values[name]:.2f}", fontsize=9)
            axes.legend(frameon=False, fontsize=7)
        figure.supxlabel("place in the prediction")
        figure.supylabel("ECDF − uniform")
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def loo_pit(posterior: Posterior, *, seed: int | None = None) -> LooPit:
    r"""The probability that the prediction of each observation from the others is below it.

    .. math:: u_i = P(\tilde y_i < y_i \mid y_{-i}) + V_i\, P(\tilde y_i = y_i \mid y_{-i}), \qquad V_i \sim U(0, 1)

    by replicated data at the draws of the posterior, with weights :math:`1 / p(y_i \mid z)`, smoothed by PSIS. The second term
    makes the values of counts uniform as well.

    Args:
        posterior: draws, with their program; its observed sites have one observation in each element (no vector-valued ones).
        seed: of the replicated data and of V; None takes one from torch's global generator.

    Raises:
        PredictionError: the posterior has no program, or it observes nothing, or vectors.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 10.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> y = torch.randn(50, generator=torch.Generator().manual_seed(0))
        >>> posterior = su.infer.MCMC(su.infer.NUTS(model), seed=0, progress=False).run(y)
        >>> su.infer.loo_pit(posterior, seed=0).p_values["y"] > 0.05
        True
    """
    # One from torch's generator also for V, or two calls would use the same numbers.
    seed = draw_seed() if optional_seed(seed, PredictionError) is None else seed
    scores = posterior.log_likelihood()
    replicated = posterior.predict(seed=seed)
    values, uneven, ks = {}, {}, {}
    for name, score in scores.items():
        observed = np.asarray(posterior.observed[name])
        ones = np.asarray(score).reshape(-1, *score.shape[2:])
        drawn = np.asarray(replicated[name]).reshape(len(ones), *replicated[name].shape[2:])
        if ones.shape != drawn.shape or drawn.shape[1:] != observed.shape:
            raise PredictionError(
                f"an observation of site {name!r} has shape {observed.shape[ones.ndim - 1 :]}, and its place in a prediction "
                "is defined for single numbers. Look at one of its elements by a program that observes it alone."
            )
        random = np.random.default_rng(seed).uniform(size=observed.shape)
        found, k = np.empty(observed.shape), np.empty(observed.shape)
        for place in np.ndindex(observed.shape):
            column = (slice(None), *place)
            weights = smooth(-ones[column])
            below = drawn[column] < observed[place]
            equal = drawn[column] == observed[place]
            found[place] = np.exp(weights.log_weights) @ (below + random[place] * equal)
            k[place] = weights.pareto_k
        values[name] = np.clip(found, 0.0, 1.0)
        uneven[name] = float(p_values(values[name].reshape(-1, 1))[0])
        ks[name] = k
    if not values:
        raise PredictionError("the program of this posterior observes nothing. Fit it to data.")
    return LooPit(values, uneven, ks)
