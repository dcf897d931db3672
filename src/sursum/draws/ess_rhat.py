"""How well chains have mixed: rank-normalised R-hat, bulk and tail effective sample sizes, E-BFMI.

All of these are functions of the draws only. They take arrays of shape (chain, draw, *shape) and return one number per
element, for all elements at once: diagnosing a model with a thousand unknowns takes less time than sampling it.
The results equal ArviZ's (the tests compare them).

References:
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
    R-hat for assessing convergence of MCMC, Bayesian Analysis 16, sections 3 and 4. Geyer (1992), Practical Markov
    chain Monte Carlo, Statistical Science 7, section 3.3. Betancourt (2016), arXiv:1604.00695.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_DRAWS = 4
"""With fewer draws the two halves of a chain have no variance."""

BLOCK = 1 << 18
"""Draws per block: keeps the working arrays inside the cache for any number of unknowns."""


@dataclass(frozen=True)
class Mixing:
    """R-hat, bulk and tail effective sample size, each of the shape of one draw (float64).

    NaN where a number is undefined: fewer than four draws, draws that are NaN, and for R-hat a single chain
    or a quantity that never changes (whose effective sample sizes are the number of draws).
    """

    r_hat: Array
    ess_bulk: Array
    ess_tail: Array


def mixing(draws: NDArray[Any]) -> Mixing:
    r"""How well the chains in `draws` agree, and what they are worth.

    .. math:: \hat R = \sqrt{\frac{N - 1}{N} + \frac{B}{N W}}, \qquad
              \mathrm{ESS} = \frac{C N}{1 + 2 \sum_t \hat\rho_t}

    on the halves of the chains: R-hat and the bulk ESS on the normal scores of their ranks (R-hat is the larger of that
    and the one of the folded draws, |x − median|), the tail ESS as the smaller of those of the indicators of the 5 % and
    95 % quantiles.

    Args:
        draws: shape (chain, draw, *shape), any real or integer dtype.

    Returns:
        Three float64 arrays of shape `shape`.

    Example:
        >>> import numpy as np
        >>> from sursum.draws.ess_rhat import mixing
        >>> found = mixing(np.random.default_rng(0).normal(size=(4, 1000)))
        >>> bool(found.r_hat < 1.01), bool(found.ess_bulk > 3000)
        (True, True)
    """
    chains, length, *shape = draws.shape
    flat = np.asarray(draws, dtype=np.float64).reshape(chains, length, math.prod(shape))
    columns = np.moveaxis(flat, -1, 0)
    result = np.full((3, len(columns)), np.nan)
    if length >= MIN_DRAWS and chains >= 1:
        step = max(1, BLOCK // (chains * length))
        for begin in range(0, len(columns), step):
            block = np.ascontiguousarray(columns[begin : begin + step])
            with np.errstate(divide="ignore", invalid="ignore"):
                result[:, begin : begin + step] = _mixing(block)
    return Mixing(*(row.reshape(shape) for row in result))


def e_bfmi(energy: NDArray[Any]) -> Array:
    r"""The estimated Bayesian fraction of missing information of each chain.

    .. math:: \mathrm{E\text{-}BFMI} = \frac{\frac{1}{N - 1}\sum_i (E_i - E_{i-1})^2}{\operatorname{Var} E}

    Small values (below 0.3) mean that the random momenta are too small to reach all energies of the posterior.

    Args:
        energy: shape (chain, draw).

    Returns:
        float64, shape (chain,); NaN for fewer than four draws or an energy that never changes.
    """
    if energy.shape[1] < MIN_DRAWS:
        return np.full(len(energy), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction: Array = np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1, ddof=1)
    return fraction


def _mixing(block: Array) -> Array:
    """R-hat, bulk and tail size, shape (3, p), of a block of shape (p, chain, draw)."""
    p, chains, _ = block.shape
    halves = _split(block)
    scores = _normal_scores(halves)
    r_hat = np.full(p, np.nan)
    if chains > 1:
        middle = np.median(halves.reshape(p, -1), axis=1)[:, None, None]
        folded = _normal_scores(np.abs(halves - middle))
        r_hat = np.maximum(_r_hat(scores), _r_hat(folded))
    flat = block.reshape(p, -1)
    low, high = np.quantile(flat, (0.05, 0.95), axis=1)[..., None, None]
    bulk = _ess(scores)
    tail = np.minimum(_ess(_split(block <= low)), _ess(_split(block <= high)))
    unknown = np.isnan(flat).any(axis=1)
    return np.where(unknown, np.nan, np.stack([r_hat, bulk, tail]))


def _split(block: NDArray[Any]) -> Array:
    """Each chain as two; the middle draw of an odd number is left out."""
    half = block.shape[2] // 2
    return np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1, dtype=np.float64)


def _normal_scores(halves: Array) -> Array:
    """Normal quantiles of the average ranks within each row of the block, by Blom's offset of 3/8."""
    p, size = len(halves), halves[0].size
    flat = halves.reshape(p, size)
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    # An average rank is a multiple of 1/2, so there are few different scores: look them up.
    table = torch.special.ndtri(torch.from_numpy((np.arange(2 * size - 1) / 2.0 + 0.625) / (size + 0.25))).numpy()
    scores: Array = np.empty_like(flat)
    np.put_along_axis(scores, order, table[_sum_of_ends(ordered)], axis=1)
    return scores.reshape(halves.shape)


def _sum_of_ends(ordered: Array) -> NDArray[np.intp]:
    """For every entry of sorted rows, the first plus the last index of its group of equal entries: 2 (rank - 1)."""
    p, size = ordered.shape
    place = np.arange(size)
    tied = ordered[:, 1:] == ordered[:, :-1]
    if not tied.any():
        return np.broadcast_to(2 * place, (p, size))
    edge = np.ones((p, 1), dtype=bool)
    begin = np.maximum.accumulate(np.where(np.hstack([edge, ~tied]), place, 0), axis=1)
    ends = np.where(np.hstack([~tied, edge]), place, size)
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    both: NDArray[np.intp] = begin + end
    return both


def _r_hat(halves: Array) -> Array:
    """The potential scale reduction factor of split chains, shape (p, chain, draw) to (p,)."""
    length = halves.shape[2]
    between = length * halves.mean(axis=2).var(axis=1, ddof=1)
    within = halves.var(axis=2, ddof=1).mean(axis=1)
    r_hat: Array = np.sqrt((between / within + length - 1) / length)
    return r_hat


def _ess(halves: Array) -> Array:
    """Effective sample sizes, shape (p, chain, draw) to (p,), by Geyer's initial monotone sequence.

    Autocorrelations are summed in pairs of even and odd lags, up to the first sum that is not positive, and made monotone.
    """
    p, chains, length = halves.shape
    autocovariance = _autocovariance(halves)
    within = autocovariance[:, 0] * length / (length - 1.0)
    total = autocovariance[:, 0].copy()
    if chains > 1:
        total += halves.mean(axis=2).var(axis=1, ddof=1)
    correlation = 1.0 - (within[:, None] - autocovariance) / total[:, None]
    correlation[:, 0] = 1.0

    count = max(1, (length - 1) // 2)
    pairs = correlation[:, : 2 * count].reshape(p, count, 2)
    sums = pairs.sum(axis=2)
    stopped = ~(sums > 0.0)
    end = np.where(stopped.any(axis=1), stopped.argmax(axis=1), count - 1)
    falling = np.cumsum(np.minimum.accumulate(sums, axis=1), axis=1)
    row = np.arange(p)
    before = np.where(end > 0, falling[row, end - 1], 0.0)
    last = pairs[row, end, 0]
    last = np.where((last > 0.0) | (sums[row, end] >= 0.0), last, 0.0)

    size = chains * length
    tau = np.maximum(-1.0 + 2.0 * before + last, 1.0 / np.log10(size))
    ess: Array = size / tau
    flat = halves.reshape(p, -1)
    constant = flat.max(axis=1) - flat.min(axis=1) < np.finfo(np.float64).resolution
    return np.where(constant, float(size), ess)


def _autocovariance(halves: Array) -> Array:
    """The autocovariance at every lag, averaged over chains, shape (p, chain, draw) to (p, draw)."""
    length = halves.shape[2]
    # Padding with zeros to twice the length keeps the ends of a chain from correlating with each other. The average
    # over chains can be taken before the inverse transform, which is linear.
    padded = 1 << (2 * length - 1).bit_length()
    spectrum = np.fft.rfft(halves - halves.mean(axis=2, keepdims=True), n=padded, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    autocovariance: Array = np.fft.irfft(power, n=padded, axis=1)[:, :length] / length
    return autocovariance
