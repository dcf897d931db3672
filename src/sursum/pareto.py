"""The Pareto k of importance weights: whether an approximation is near enough to the posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sursum.arviz_export import _arviz as arviz_quietly

LIMIT = 0.7
_FEWEST = 25


def pareto_k(log_weights: NDArray[np.float64]) -> float:
    r"""The shape k of the generalised Pareto distribution of the largest weights, by ArviZ; NaN where there are too few draws.

    Args:
        log_weights: :math:`\log p(x, z_i) - \log q(z_i)` of independent draws, (N,).

    Reference: Vehtari, Simpson, Gelman, Yao, Gabry, "Pareto smoothed importance sampling" (2024); Yao et al., "Yes, but did
    it work?" (2018).

    Example:
        >>> import numpy as np
        >>> heavy = 5 * np.random.default_rng(0).normal(size=1000)
        >>> pareto_k(heavy) > 0.7
        True
    """
    if len(log_weights) < _FEWEST or not np.isfinite(log_weights).all() or np.ptp(log_weights) < 1e-8:
        return float("nan")
    _, k = arviz_quietly().psislw(log_weights.copy())
    return float(k)


def verdict(k: float) -> tuple[str, ...]:
    """What is to be said about a Pareto k; nothing up to 0.7."""
    if not k > LIMIT:
        return ()
    return (
        f"Pareto k is {k:.2f}, above {LIMIT}: the approximation misses a part of the posterior, and its means and spreads are "
        "not to be trusted. Use a richer guide, reparametrise, or sample with MCMC.",
    )
