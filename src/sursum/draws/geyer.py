"""Effective sample sizes by Geyer's initial monotone sequence, from autocovariances only as far as it goes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LAGS = 8
"""Lags that are summed before the quantities whose sequence has ended are left out."""

FURTHEST = 64
"""Lags after which a Fourier transform gives all of the others, for the time of some forty of them."""

DOUBT = 1e-10
"""A sum of two autocorrelations this near to zero may end the sequence or not, by rounding: one rule decides, the transform."""


def effective_size(halves: NDArray[np.generic]) -> Array:
    """Effective sample sizes, shape (p, chain, draw) to (p,), by Geyer's initial monotone sequence.

    Autocorrelations are summed in pairs of even and odd lags, up to the first sum that is not positive, and made monotone.
    Where the chains mix well that is after a few lags, which are computed one by one.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(1, 4, 500))
        >>> bool(1500 < effective_size(draws)[0] < 2500)
        True
    """
    draws = np.asarray(halves, dtype=np.float64)
    p, chains, length = draws.shape
    means = draws.mean(axis=2)
    deviations = draws - means[:, :, None]
    variance = _at_lag(deviations, 0)
    total = variance + (means.var(axis=1, ddof=1) if chains > 1 else 0.0)
    within, count = variance * length / (length - 1.0), max(1, (length - 1) // 2)

    tau, rows, left, known = np.empty(p), np.arange(p), deviations, np.empty((p, 0))
    while rows.size:
        begin = known.shape[1]
        if begin >= FURTHEST:
            tau[rows] = _time(_correlations(_at_all_lags(left), within[rows], total[rows])[:, : 2 * count])
            break
        end = min(begin + LAGS, 2 * count)
        known = np.concatenate([known, np.stack([_at_lag(left, lag) for lag in range(begin, end)], axis=1)], axis=1)
        correlations = _correlations(known, within[rows], total[rows])
        sums = correlations[:, ::2] + correlations[:, 1::2]
        doubtful = (np.abs(sums) < DOUBT).any(axis=1)
        done = (~(sums > 0.0)).any(axis=1) & ~doubtful if end < 2 * count else ~doubtful
        tau[rows[done]] = _time(correlations[done])
        if doubtful.any():
            whole = _correlations(_at_all_lags(left[doubtful]), within[rows[doubtful]], total[rows[doubtful]])
            tau[rows[doubtful]] = _time(whole[:, : 2 * count])
        if (gone := done | doubtful).any():
            rows, left, known = rows[~gone], left[~gone], known[~gone]

    size = chains * length
    flat = draws.reshape(p, -1)
    constant = flat.max(axis=1) - flat.min(axis=1) < np.finfo(np.float64).resolution
    return np.where(constant, float(size), size / np.maximum(tau, 1.0 / np.log10(size)))


def _correlations(autocovariances: Array, within: Array, total: Array) -> Array:
    """Autocorrelations of all chains together, (p, lag), by the variances within chains and in total, (p,)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a quantity that never changes has none
        found = 1.0 - (within[:, None] - autocovariances) / total[:, None]
    found[:, 0] = 1.0
    correlations: Array = found
    return correlations


def _time(correlations: Array) -> Array:
    """The integrated autocorrelation time of sequences that end within these lags, (p, lag) to (p,)."""
    pairs = correlations.reshape(len(correlations), correlations.shape[1] // 2, 2)
    sums = pairs.sum(axis=2)
    stopped = ~(sums > 0.0)
    end = np.where(stopped.any(axis=1), stopped.argmax(axis=1), sums.shape[1] - 1)
    falling = np.cumsum(np.minimum.accumulate(sums, axis=1), axis=1)
    row = np.arange(len(pairs))
    before = np.where(end > 0, falling[row, end - 1], 0.0)
    last = pairs[row, end, 0]
    last = np.where((last > 0.0) | (sums[row, end] >= 0.0), last, 0.0)
    time: Array = -1.0 + 2.0 * before + last
    return time


def _at_lag(deviations: Array, lag: int) -> Array:
    """The autocovariance at one lag, averaged over chains, shape (p, chain, draw) to (p,)."""
    _, chains, length = deviations.shape
    found: Array = np.einsum("pcn,pcn->p", deviations[:, :, lag:], deviations[:, :, : length - lag]) / (chains * length)
    return found


def _at_all_lags(deviations: Array) -> Array:
    """The autocovariance at every lag, averaged over chains, shape (p, chain, draw) to (p, draw)."""
    length = deviations.shape[2]
    # Padding with zeros to twice the length keeps the ends of a chain from correlating with each other. The average
    # over chains can be taken before the inverse transform, which is linear.
    padded = 1 << (2 * length - 1).bit_length()
    spectrum = np.fft.rfft(deviations, n=padded, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    autocovariance: Array = np.fft.irfft(power, n=padded, axis=1)[:, :length] / length
    return autocovariance
