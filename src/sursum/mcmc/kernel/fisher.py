r"""Metrics from draws and the gradients there, by the Fisher divergence.

The covariance :math:`\Sigma` whose normal distribution has the gradients nearest to those of the target, in the norm of
:math:`\Sigma`, is the geometric mean of the covariance of the draws and the inverse covariance of the gradients:
:math:`\Sigma\, C_g\, \Sigma = C_q`. Of a normal target it is exact as soon as the draws span the space.

References:
    Seyboldt, Carlson & Carpenter (2026), arXiv:2603.18845.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.metric import Metric

Array = NDArray[np.float64]

REGULAR = 1e-5
"""Draws' worth of the unit covariance that is mixed into each estimate."""

CUTOFF = 2.0
"""Eigenvalues between 1/CUTOFF and CUTOFF are left to the scales."""

MOST_VECTORS = 64

ROUNDING = 1e-12
"""Gradients that vary by less than this part of their size do not vary: of a flat or linear log density they say nothing."""


def scales(draws: Array, gradients: Array) -> Array:
    r"""The diagonal solution :math:`(\mathrm{var}(q_i) / \mathrm{var}(g_i))^{1/4}`, 1 where there is none; (n,).

    Args:
        draws, gradients: (N, n).

    Example:
        >>> q = np.random.default_rng(0).normal(size=(9, 2)) * [3.0, 0.1]
        >>> scales(q, -q / np.array([9.0, 0.01])).round(6).tolist()
        [3.0, 0.1]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (draws.var(axis=0) / _variance(gradients)) ** 0.25
    return np.where((found > 1e-10) & (found < 1e10), found, 1.0)


def directions(draws: Array, gradients: Array, scale: Array) -> tuple[Array, Array]:
    r"""What is left beside the scales: eigenvalues (k,) and orthonormal eigenvectors (k, n).

    The vectors are found in the first half of the draws, in the span of at most `MOST_VECTORS` directions of draws and as many
    of gradients. The value of each is that of the second half,
    :math:`\sqrt{\mathrm{var}(u \cdot q) / \mathrm{var}(u \cdot g)}`, so that a direction that was found by chance
    has a value near 1. Only those that both halves see on one side of 1 are kept.
    """
    x, g = _whiten(draws, gradients, scale)
    if not g.any():
        return np.empty(0), np.empty((0, len(scale)))
    half = len(x) // 2
    first, second = (x[:half], g[:half]), (x[half:], g[half:])
    n = x.shape[1]
    basis = np.eye(n) if n <= min(half // 2, 2 * MOST_VECTORS) else _span([_main_directions(a) for a in first])
    covariance = geometric_mean(*(_covariance(a @ basis.T) for a in first))
    there, vectors = np.linalg.eigh(covariance)
    vectors = vectors.T @ basis
    along = [(a @ vectors.T).var(axis=0) for a in second]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.sqrt(along[0] / along[1])
    both = np.isfinite(values) & (values > 0.0) & ((values > 1.0) == (there > 1.0))
    return values[both], vectors[both]


def low_rank(draws: Array, gradients: Array) -> Metric:
    """Scales, and the directions whose eigenvalues stand out beside them."""
    scale = scales(draws, gradients)
    values, vectors = directions(draws, gradients, scale)
    strength = np.abs(np.log(values))
    chosen = np.argsort(-strength)[:MOST_VECTORS]
    chosen = chosen[strength[chosen] > np.log(CUTOFF)]
    return Metric.low_rank(scale, vectors[chosen], values[chosen]) if chosen.size else Metric.diagonal(scale**2)


def dense(draws: Array, gradients: Array) -> Metric:
    """The whole covariance. With fewer than twice as many draws as unknowns the low-rank one, which needs fewer."""
    if len(draws) < 2 * draws.shape[1]:
        return low_rank(draws, gradients)
    scale = scales(draws, gradients)
    covariance = geometric_mean(*map(_covariance, _whiten(draws, gradients, scale)))
    return Metric.dense(scale[:, None] * covariance * scale)


def shortening(metric: Metric) -> float:
    """By what factor trajectories are shorter than with the scales alone: the root of the ratio of the condition numbers.

    Example:
        >>> scale = np.ones(3)
        >>> shortening(Metric.diagonal(scale)), shortening(Metric.low_rank(scale, np.eye(3)[:1], np.array([200.0])))
        (1.0, 10.0)
    """
    values = (1.0 + metric.factors) ** 2
    return float(np.sqrt(max([CUTOFF, *values]) / min([1.0 / CUTOFF, *values])) / CUTOFF)


def geometric_mean(covariance: Array, precision: Array) -> Array:
    r"""The positive definite :math:`\Sigma` with :math:`\Sigma P \Sigma = C`.

    Example:
        >>> geometric_mean(np.diag([4.0, 9.0]), np.diag([1.0, 4.0])).round(6).tolist()
        [[2.0, 0.0], [0.0, 1.5]]
    """
    values, vectors = np.linalg.eigh(precision)
    values = np.maximum(values, 1e-14 * values[-1])
    root, inverse = (vectors * values**power @ vectors.T for power in (0.5, -0.5))
    values, vectors = np.linalg.eigh(root @ covariance @ root)
    found: Array = inverse @ (vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T) @ inverse
    return 0.5 * (found + found.T)


def _variance(gradients: Array) -> Array:
    """The variance of each column, 0 where it is that of rounding."""
    found = gradients.var(axis=0)
    return np.where(found > (ROUNDING * np.abs(gradients).max(axis=0)) ** 2, found, 0.0)


def _whiten(draws: Array, gradients: Array, scale: Array) -> tuple[Array, Array]:
    """Both in units of the scales; 0 by coordinates whose gradients do not vary, along which no covariance is known."""
    varies = _variance(gradients) > 0.0
    return draws / scale * varies, gradients * scale * varies


def _covariance(x: Array) -> Array:
    """With a little of the unit covariance, so that there is an inverse."""
    x = x - x.mean(axis=0)
    found: Array = (x.T @ x + REGULAR * np.eye(x.shape[1])) / (len(x) + REGULAR)
    return found


def _main_directions(x: Array) -> Array:
    """The directions in which the rows differ most, at most `MOST_VECTORS`, orthonormal; (k, n)."""
    x = x - x.mean(axis=0)
    if len(x) < x.shape[1]:
        values, vectors = np.linalg.eigh(x @ x.T)
        kept = np.flatnonzero(values > 1e-12 * values[-1])[-MOST_VECTORS:]
        return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ x)
    return np.ascontiguousarray(np.linalg.eigh(x.T @ x)[1][:, -MOST_VECTORS:].T)


def _span(groups: list[Array]) -> Array:
    """An orthonormal basis of what all rows span."""
    rows = np.concatenate(groups)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > 1e-8 * values[-1]
    return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ rows)
