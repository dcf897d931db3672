"""What the draws of an unknown are told by, in NumPy: R-hat, effective sample sizes, moments, quantiles.

The C of `c/measures.c` computes the same.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sursum.draws.geyer import effective_size
from sursum.draws.ranks import SortedDraws

Array = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)

NUMBERS = ("r_hat", "ess_bulk", "ess_tail", "mean", "sd", "5%", "50%", "95%")
"""In this order."""

TAILS = (0.05, 0.95)
"""The quantiles whose indicators the tail size is of."""

MIN_DRAWS = 4
"""With fewer draws the two halves of a chain have no variance."""


def moments(flat: Array) -> Array:
    """Mean, sd, and the quantiles 5, 50 and 95 % of rows, (p, size) to (5, p); NaN where they are undefined."""
    p, size = flat.shape
    if size < 2:
        found = np.full((5, p), np.nan)
        if size:
            found[[0, 2, 3, 4]] = flat[:, 0]
        return found
    with np.errstate(invalid="ignore", over="ignore"):
        quantiles = np.quantile(flat, (TAILS[0], 0.5, TAILS[1]), axis=1)
        return np.stack([flat.mean(axis=1), flat.std(axis=1, ddof=1), *quantiles])


def mixing_of(block: Array) -> Array:
    """R-hat, bulk and tail size of p unknowns, (p, chain, draw) to (3, p); NaN where they are undefined."""
    p, chains, length = block.shape
    if length < MIN_DRAWS or chains < 1:
        return np.full((3, p), np.nan)
    halves, r_hat = _split(block), np.full(p, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ranked = SortedDraws.of(halves.reshape(p, -1))
        scores = ranked.scores().reshape(halves.shape)
        # The halves of an odd number leave one draw out.
        whole = ranked if length % 2 == 0 else SortedDraws.of(block.reshape(p, -1))
        low, high = (whole.quantile(probability)[:, None, None] for probability in TAILS)
        if chains > 1:
            r_hat = np.maximum(_r_hat(scores), _r_hat(ranked.folded_scores().reshape(halves.shape)))
        bulk = effective_size(scores)
        tail = np.minimum(effective_size(_split(block <= low)), effective_size(_split(block <= high)))
    unknown = np.isnan(whole.values[:, -1])  # sorted last
    return np.where(unknown, np.nan, np.stack([r_hat, bulk, tail]))


def _split(block: NDArray[T]) -> NDArray[T]:
    """Each chain as two; the middle draw of an odd number is left out."""
    half = block.shape[2] // 2
    return np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1)


def _r_hat(halves: Array) -> Array:
    """The potential scale reduction factor of split chains, shape (p, chain, draw) to (p,)."""
    length = halves.shape[2]
    between = length * halves.mean(axis=2).var(axis=1, ddof=1)
    within = halves.var(axis=2, ddof=1).mean(axis=1)
    r_hat: Array = np.sqrt((between / within + length - 1) / length)
    return r_hat
