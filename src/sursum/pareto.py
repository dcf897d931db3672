"""Importance weights, smoothed, and their Pareto k: whether an approximation is near enough to the posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sursum.arviz_export import _arviz as arviz_quietly

Array = NDArray[np.float64]

LIMIT = 0.7
_FEWEST = 25


@dataclass(frozen=True)
class Smoothed:
    """Weights that sum to 1, as logarithms, float64 (N,); and the Pareto k that judges them, NaN where there is none."""

    log_weights: Array
    pareto_k: float

    @property
    def ess(self) -> float:
        r"""The effective sample size :math:`1 / \sum_i w_i^2`: how many independent draws the weighted ones are worth."""
        return float(np.exp(-np.logaddexp.reduce(2.0 * self.log_weights)))


def smooth(log_weights: Array) -> Smoothed:
    r"""Replace the largest weights by quantiles of the generalised Pareto distribution that fits them.

    Its shape k says how far importance sampling can be trusted: up to 0.7 it works, above that the weights have hardly a
    mean, and no number of draws helps.

    Args:
        log_weights: :math:`\log p(z_i) - \log q(z_i)` of independent draws from q, float64 (N,), up to a constant; −∞ is
            a weight of 0.

    Returns:
        Normalised weights and k. Fewer than 25 different weights, or weights that are all alike, are not smoothed, and have no
        k.

    References
        Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25; by ArviZ. Yao, Vehtari,
        Simpson, Gelman (2018), Yes, but did it work? Evaluating variational inference.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=1000)
        >>> found = smooth(0.1 * z)
        >>> found.pareto_k < 0.7, round(float(np.exp(found.log_weights).sum()), 6), 980 < found.ess < 1000
        (True, 1.0, True)
    """
    present = np.isfinite(log_weights)
    if np.isnan(log_weights).any() or np.isposinf(log_weights).any() or not present.any():
        raise ValueError("importance weights must be numbers, not all of them 0")
    kept = log_weights[present]
    # A few values that recur have no tail, however heavy ArviZ may find it.
    if len(np.unique(kept)) < _FEWEST or np.ptp(kept) < 1e-6:
        weights, k = kept, np.nan
    else:
        weights, k = arviz_quietly().psislw(kept.copy())
    whole = np.full(len(log_weights), -np.inf)
    whole[present] = np.asarray(weights)
    return Smoothed(whole - np.logaddexp.reduce(whole), float(k))


def resampled(found: Smoothed, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` indices, drawn with replacement by the weights."""
    weights = np.exp(found.log_weights)
    chosen: NDArray[np.intp] = rng.choice(len(weights), size=count, p=weights / weights.sum())
    return chosen


def pareto_k(log_weights: Array) -> float:
    """The Pareto k of importance weights, as `smooth` has it; NaN where one of them is not finite.

    Example:
        >>> import numpy as np
        >>> heavy = 5 * np.random.default_rng(0).normal(size=1000)
        >>> pareto_k(heavy) > 0.7
        True
    """
    return smooth(log_weights).pareto_k if np.isfinite(log_weights).all() else float("nan")


def verdict(k: float) -> tuple[str, ...]:
    """What is to be said about a Pareto k; nothing up to 0.7."""
    if not k > LIMIT:
        return ()
    return (
        f"Pareto k is {k:.2f}, above {LIMIT}: the approximation misses a part of the posterior, and its means and spreads are "
        "not to be trusted. Start MCMC from it (`MCMC(…, init=posterior)`), use a richer one, or reparametrise.",
    )
