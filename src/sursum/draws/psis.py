"""Pareto-smoothed importance weights, and their Pareto k: whether an approximation is close enough to the posterior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT = 0.7
_FEWEST = 25
"""Minimum number of distinct weights for a meaningful tail."""
_LEAST = 4
"""Maximum size of a tail that is too short to be fitted."""


@dataclass(frozen=True)
class Smoothed:
    """Log weights whose exponentials sum to 1, float64 (N,); and their Pareto k, NaN if undefined."""

    log_weights: Array
    pareto_k: float

    @property
    def ess(self) -> float:
        r"""The effective sample size :math:`1 / \sum_i w_i^2`: how many independent draws the weighted ones are worth."""
        return float(np.exp(-np.logaddexp.reduce(2.0 * self.log_weights)))


def smooth(log_weights: Array) -> Smoothed:
    r"""Replace the largest weights by quantiles of the generalised Pareto distribution that fits them.

    Its shape k tells how far importance sampling can be trusted: up to 0.7 it works, above that the weights hardly have a
    mean, and no number of draws helps.

    Args:
        log_weights: :math:`\log p(z_i) - \log q(z_i)` of independent draws from q, float64 (N,), up to a constant; −∞ is
            a weight of 0.

    Returns:
        Normalised weights and k. Fewer than 25 distinct weights, or weights that are all equal, are not smoothed, and have no
        k.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25. Yao, Vehtari,
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
    # A few recurring values have no tail, however heavy the fitted one may be.
    if len(np.unique(kept)) < _FEWEST or np.ptp(kept) < 1e-6:
        weights, k = kept, np.nan
    else:
        weights, k = _smooth(kept - kept.max())
    whole = np.full(len(log_weights), -np.inf)
    whole[present] = np.asarray(weights)
    return Smoothed(whole - np.logaddexp.reduce(whole), float(k))


def _tail_size(count: int) -> int:
    """How many of the largest weights are smoothed."""
    return math.ceil(min(count / 5, 3 * math.sqrt(count)))


def upper_k(k: float, count: int) -> float:
    r"""An estimate of a Pareto k from `count` draws, plus two standard errors.

    .. math:: k + 2\, \frac{1 + k}{\sqrt{M}}

    with M weights in the tail: the error is that of maximum likelihood (Smith 1987, Annals of Statistics 15).

    Example:
        >>> round(upper_k(0.5, 4000), 2)
        0.72
    """
    return k + 2.0 * (1.0 + k) / math.sqrt(_tail_size(count))


def _smooth(logs: Array) -> tuple[Array, float]:
    """Logarithms of weights, the largest of which is 1, with a smooth tail; and the tail's Pareto k."""
    order = np.argsort(logs, kind="stable")
    size = _tail_size(len(logs))
    cut = max(logs[order[-size - 1]], math.log(np.finfo(np.float64).tiny))
    tail = order[logs[order] > cut]
    if len(tail) <= _LEAST:
        return logs, math.inf
    least = math.exp(cut)
    k, scale = _pareto_fit(np.exp(logs[tail]) - least)
    if not math.isfinite(k):
        return logs, k
    log_survival = np.log1p(-(np.arange(len(tail)) + 0.5) / len(tail))
    quantiles = -log_survival if k == 0.0 else np.expm1(-k * log_survival) / k
    smooth_logs = logs.copy()
    smooth_logs[tail] = np.minimum(np.log(least + scale * quantiles), 0.0)
    return smooth_logs, k


def _pareto_fit(excess: Array) -> tuple[float, float]:
    r"""Shape k and scale σ of a generalised Pareto distribution, from sorted positive numbers (N,).

    .. math:: \theta = k / \sigma, \qquad k(\theta) = \tfrac1N \textstyle\sum_i \log(1 + \theta x_i)

    Given θ, the likelihood is maximal at k(θ). θ is the mean under that profile likelihood and the weak prior of the
    paper; k is shrunk towards 1/2, with the weight of ten observations.

    References:
        Zhang, Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution, Technometrics
        51; Vehtari et al. (2024), appendix C.
    """
    n = len(excess)
    quartile = excess[int(n / 4 + 0.5) - 1]
    points = 30 + int(math.sqrt(n))
    theta = (np.sqrt(points / (np.arange(points) + 0.5)) - 1.0) / (3.0 * quartile) - 1.0 / excess[-1]
    shapes = np.log1p(theta[:, None] * excess).mean(axis=1)
    profile = n * (np.log(theta / shapes) - shapes - 1.0)
    weights = np.exp(profile - np.logaddexp.reduce(profile))
    mean = float(theta @ weights)
    shape = float(np.log1p(mean * excess).mean())
    return (n * shape + 10 * 0.5) / (n + 10), shape / mean


def resample_indices(found: Smoothed, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw `count` indices with replacement, in proportion to the weights."""
    weights = np.exp(found.log_weights)
    chosen: NDArray[np.intp] = rng.choice(len(weights), size=count, p=weights / weights.sum())
    return chosen


def pareto_k(log_weights: Array) -> float:
    """The Pareto k of importance weights, as in `smooth`; NaN if one of them is not finite.

    Example:
        >>> import numpy as np
        >>> heavy = 5 * np.random.default_rng(0).normal(size=1000)
        >>> pareto_k(heavy) > 0.7
        True
    """
    return smooth(log_weights).pareto_k if np.isfinite(log_weights).all() else float("nan")


def verdict(k: float) -> tuple[str, ...]:
    """The warnings about a Pareto k; empty up to 0.7."""
    if not k > LIMIT:
        return ()
    return (
        f"Pareto k is {k:.2f}, above {LIMIT}: the approximation misses part of the posterior, and its means and sds cannot "
        "be trusted. Start MCMC from it (`MCMC(…, init=posterior)`), use a richer one, or reparametrise.",
    )


def say_trust(k: float | None) -> tuple[str, ...]:
    """What a summary says about a Pareto k without a warning."""
    if k is None or k > LIMIT:
        return ()
    return (f"Pareto k is {k:.2f}." if np.isfinite(k) else "There is no Pareto k: the weights are all equal, or too few.",)
