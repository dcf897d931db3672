"""The logarithms of the incomplete gamma functions, far out in the tails too, and their derivatives."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

from sursum.common.special.gamma_series import by_torch, log1pmx, stirling
from sursum.common.special.incomplete_gamma import (
    LARGE,
    Which,
    continued_fraction,
    drift,
    incomplete_gamma,
    log_factor,
    power_series,
)
from sursum.common.special.special_operator import Array, SpecialOperator

#: As far from the shape, of it, does Temme's expansion go in the logarithm.
_NEAR = 0.02


class LogWhich(IntEnum):
    """What is computed: log P(a, x) and its derivatives by a and x, or log(1 − P) and those of that."""

    LOWER = 0
    LOWER_BY_SHAPE = 1
    LOWER_BY_POINT = 2
    UPPER = 3
    UPPER_BY_SHAPE = 4
    UPPER_BY_POINT = 5


def log_incomplete_gamma(a: Array, x: Array, which: LogWhich) -> Array:
    """The logarithm, or its derivative; the C of `compiler/native` computes it alike."""
    part, upper = which % 3, which >= LogWhich.UPPER
    with np.errstate(all="ignore"):
        found = _at_the_edges(a, x, part, upper)
        inner = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
        temme = inner & (a >= LARGE) & (np.abs((x - a) / a) < _NEAR)
        direct = inner & ~temme & ((x >= a + 1) == upper)
        for at, function in ((temme, _expansion), (direct, _direct), (inner & ~temme & ~direct, _other)):
            places = np.flatnonzero(at)
            if len(places):
                found[places] = function(a[places], x[places], part, upper)
    return found


def _at_the_edges(a: Array, x: Array, part: int, upper: bool) -> Array:
    """The limits where an argument is 0 or infinite; NaN outside."""
    none = ((x == 0) | np.isinf(a)) != upper  # the function is 0, and not 1
    if part == 0:
        found = np.where(none, -np.inf, 0.0)
    elif part == 1:
        found = np.where(none, np.inf if upper else -np.inf, 0.0)
    elif upper:
        density = np.where(a < 1, -np.inf, np.where(a == 1, -1.0, 0.0))
        found = np.where(x == 0, density, np.where(none, -1.0, 0.0))
    else:
        found = np.where(none, np.inf, 0.0)
    nowhere = ~((a >= 0) & (x >= 0)) | (a == 0) & (x == 0) | np.isinf(a) & np.isinf(x)
    return np.where(nowhere, np.nan, found)


def _direct(a: Array, x: Array, part: int, upper: bool) -> Array:
    """The smaller of P and 1 − P."""
    size, slope = continued_fraction(a, x) if upper else power_series(a, x)
    if part == 0:
        found = log_factor(a, x) + np.log(a * size if upper else size)
        rest = np.where((a < 1) & (not upper), incomplete_gamma(a, x, Which.UPPER), 1.0)
        return np.where(rest < 0.5, np.log1p(-rest), found)
    if part == 1:
        return drift(a, x) + (slope + 1 / a if upper else slope / size)
    return -1 / (x * size) if upper else a / (x * size)


def _other(a: Array, x: Array, part: int, upper: bool) -> Array:
    """The larger."""
    mine, others = (Which.UPPER, Which.LOWER) if upper else (Which.LOWER, Which.UPPER)
    whole = incomplete_gamma(a, x, mine)
    if part == 0:
        return np.where(whole < 0.5, np.log(whole), np.log1p(-incomplete_gamma(a, x, others)))
    slope = incomplete_gamma(a, x, Which.BY_SHAPE if part == 1 else Which.BY_POINT)
    return (-slope if upper else slope) / whole


def _expansion(a: Array, x: Array, part: int, upper: bool) -> Array:
    """Temme's, for a large shape."""
    d = (x - a) / a
    t = -a * log1pmx(d, x / a)
    eta, width = np.copysign(np.sqrt(2 * t / a), d), np.sqrt(2 * np.pi * a)
    c = np.polyval([1 / 25515, -139 / 777600, 1 / 2835, 1 / 864, -2 / 135, 1 / 12, -1 / 3], eta)
    more = np.polyval([25 / 12096, -1 / 288, -1 / 540], eta) / a
    far = d > 0 if upper else d < 0
    erfc = by_torch(torch.erfc, np.sqrt(t))
    tail = np.where(far, 0.5 * by_torch(torch.special.erfcx, np.sqrt(t)), 1 - 0.5 * erfc)
    peak = np.where(far, 1.0, np.exp(-t)) / width
    signed = peak if upper else -peak
    whole = tail + signed * (c + more)
    if part == 0:
        return np.where(far, np.log(whole) - t, np.log1p(-0.5 * erfc + signed * (c + more)))
    slope = np.exp(-stirling(a)) * (a / x)
    if part == 1:
        share, move = (np.where(eta == 0, 1.0, of / eta) for of in (np.log1p(d), d))
        turn = np.polyval([1 / 288, -4 / 135, 1 / 12], eta)
        slope = -(share + (c + more) * (np.log1p(d) - 0.5 / a) - (turn * move + more) / a)
    return -slope * signed / whole


def _kernel(args: tuple[Array, ...], which: int) -> Array:
    return log_incomplete_gamma(args[0], args[1], LogWhich(which))


#: `sursum::log_incomplete_gamma(a, x, which)`.
LOG_INCOMPLETE = SpecialOperator("log_incomplete_gamma", 2, _kernel, {
    LogWhich.LOWER: ((LogWhich.LOWER_BY_SHAPE, 1.0), (LogWhich.LOWER_BY_POINT, 1.0)),
    LogWhich.UPPER: ((LogWhich.UPPER_BY_SHAPE, 1.0), (LogWhich.UPPER_BY_POINT, 1.0)),
})  # fmt: skip
