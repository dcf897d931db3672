r"""Whether numbers are uniform: the largest deviation of their ECDF, and the band in which it stays.

References:
    Säilynoja, Bürkner, Vehtari (2022), Graphical test for discrete uniformity and its applications in goodness-of-fit
    evaluation and multiple sample comparison, Statistics and Computing 32, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCES = 2000
"""Number of uniform samples from which the distribution of the test statistic is estimated."""


def p_values(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each column of numbers, (count, *shape), the fraction of uniform samples that are at least as uneven."""
    count, *shape = uniform.shape
    reference = np.sort(unevenness(np.random.default_rng(0).uniform(size=(REFERENCES, count))))
    found = np.searchsorted(reference, unevenness(uniform.reshape(count, -1).T), side="right")
    p: NDArray[np.float64] = ((found + 1) / (REFERENCES + 1)).reshape(shape)
    return p


def _places(count: int) -> NDArray[np.float64]:
    """The points at which an ECDF of `count` numbers is evaluated."""
    return np.arange(1, count) / count if count > 1 else np.array([0.5])


def unevenness(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""For rows of N numbers, the probability of the ECDF at its most improbable point: small for uneven ones.

    .. math:: \gamma = 2 \min_i \min\{\mathrm{Bin}(N F(z_i) \mid N, z_i), 1 - \mathrm{Bin}(N F(z_i) - 1 \mid N, z_i)\}
    """
    from scipy.stats import binom  # type: ignore[import-untyped]

    count = uniform.shape[1]
    z = _places(count)
    below = np.stack([np.searchsorted(np.sort(row), z, side="right") for row in uniform])
    # There are few distinct values: one table of the distribution for each point.
    k = np.arange(count + 1)
    lower = binom.cdf(k[:, None], count, z)
    upper = binom.sf(k[:, None] - 1, count, z)
    column = np.arange(len(z))
    gamma: NDArray[np.float64] = 2.0 * np.minimum(lower[below, column], upper[below, column]).min(axis=1)
    return gamma


def band(count: int, coverage: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Points z, and the band that contains the whole ECDF of `count` uniform numbers with probability `coverage`.

    Example:
        >>> z, low, up = band(100)
        >>> bool((low <= z).all() and (z <= up).all())
        True
    """
    from scipy.stats import binom

    gamma = np.quantile(unevenness(np.random.default_rng(0).uniform(size=(REFERENCES, count))), 1.0 - coverage)
    z = _places(count)
    return z, binom.ppf(gamma / 2.0, count, z) / count, binom.ppf(1.0 - gamma / 2.0, count, z) / count


def plot_ecdf(axes: Any, uniform: NDArray[np.float64], label: str) -> None:
    """Draw the ECDF of numbers minus that of uniform ones, and the band that contains 95 % of these."""
    z, low, up = band(len(uniform))
    axes.fill_between(z, low - z, up - z, color="0.85", linewidth=0, label=f"95 % of uniform {label}")
    axes.step(z, (uniform[:, None] <= z).mean(axis=0) - z, where="mid", color="C0", label=label)
    axes.axhline(0.0, color="0.5", linewidth=0.8)


def panels(figure: Any, count: int, wide: int = 4) -> Sequence[Any]:
    """As many axes, in a grid."""
    wide = min(wide, count)
    grid: Sequence[Any] = figure.subplots(-(-count // wide), wide, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return grid[:count]
