r"""How strongly the coordinates of a posterior are correlated, as far as a sampler with a diagonal metric feels it.

In units of their standard deviations the coordinates have the correlation matrix R. The longest direction of the posterior is
then :math:`\sqrt{\lambda_{\max} / \lambda_{\min}}` times as long as the shortest, and a trajectory has about as many steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST = 1000
"""Coordinates for which a matrix is made."""


def stretched(draws: Array, coordinates: Sequence[str]) -> tuple[float, str]:
    """The ratio of the largest to the smallest variance along a direction, and the site that takes most part in the smallest.

    The directions are those of one half of the draws, and the variances along them those of the other half, so that a small
    sample of independent coordinates has a ratio near one.

    Args:
        draws: unconstrained, (chain, draw, n).
        coordinates: the n names.

    Returns:
        The ratio, 1 where it cannot be determined: too many coordinates, too few draws, coordinates that never change.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> common, own = rng.normal(size=(2, 2, 500, 2))
        >>> ratio, site = stretched(np.concatenate([common + 0.1 * own, own[..., :1]], axis=2), ["b[0]", "b[1]", "s"])
        >>> stretched(rng.normal(size=(2, 500, 100)), [""] * 100)[0] < 3
        True
    """
    chains, length, n = draws.shape
    half = length // 2
    if not 1 < n <= MOST or chains * half < 2 * n:
        return 1.0, ""
    one, other = (np.asarray(part, dtype=np.float64).reshape(-1, n) for part in (draws[:, :half], draws[:, half:]))
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt((one**2).mean(axis=0))
    if not (np.isfinite(scale).all() and np.isfinite(other).all() and (scale > 0.0).all()):
        return 1.0, ""
    one, other = one / scale, other / scale
    _, directions = np.linalg.eigh(one.T @ one / len(one))
    shortest, longest = ((other @ directions[:, k]).var() for k in (0, -1))
    parts: dict[str, float] = {}
    for name, share in zip(coordinates, directions[:, 0] ** 2, strict=True):
        site = name.partition("[")[0]
        parts[site] = parts.get(site, 0.0) + float(share)
    return float(longest / shortest) if shortest > 0.0 else 1.0, max(parts, key=parts.__getitem__)
