"""The regularised incomplete beta function, its logarithm, and the derivatives of both by all arguments.

References: DiDonato and Morris, "Algorithm 708: Significant digit computation of the incomplete beta function ratios" (1992),
for the continued fraction; Boik and Robison-Cox, "Derivatives of the incomplete beta function" (1998), for the idea to
differentiate it; DLMF 8.17 for the power series.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.common.special.gamma_series import (
    FAR,
    by_torch,
    digamma_difference,
    digamma_tail,
    gamma_ratio,
    log1pmx,
    log_gamma1p,
    stirling,
)
from sursum.common.special.iteration import iterate
from sursum.common.special.special_operator import Array, SpecialOperator

#: A value, and its derivatives by a and b.
_Three = tuple[Array, Array, Array]


class BetaWhich(IntEnum):
    """What is computed: I, or its derivative by a, b or x; or log I, or the derivatives of that."""

    VALUE = 0
    BY_A = 1
    BY_B = 2
    BY_X = 3
    LOG = 4
    LOG_BY_A = 5
    LOG_BY_B = 6
    LOG_BY_X = 7


def incomplete_beta(a: Array, b: Array, x: Array, y: Array, which: BetaWhich) -> Array:
    """The same of vectors of NumPy's, where y is 1 − x; the C of `compiler/native` computes it alike."""
    part, logs = which % 4, which >= BetaWhich.LOG
    with np.errstate(all="ignore"):
        found = _at_the_edges(a, b, x, y, part, logs)
        at = np.flatnonzero((a > 0) & (b > 0) & (x > 0) & (y > 0) & np.isfinite(a) & np.isfinite(b))
        if len(at):
            found[at] = _inside(a[at], b[at], x[at], y[at], part, logs)
    return found


def _at_the_edges(a: Array, b: Array, x: Array, y: Array, part: int, logs: bool) -> Array:
    """The limits where an argument is 0 or infinite; NaN outside."""
    none = (y > 0) & ((x == 0) | (b == 0) | np.isinf(a))  # I is 0, and not 1
    if part == 0:
        found = np.where(none, -np.inf, 0.0) if logs else np.where(none, 0.0, 1.0)
    else:
        found = np.where(none & logs, -np.inf if part == 1 else np.inf, 0.0)
    if part == 3:
        left = x == 0
        power, other = np.where(left, a, b), np.where(left, b, a)
        density = np.where(power < 1, np.inf, np.where(power == 1, other, 0.0))
        density = np.where(left & logs, np.inf, density)
        found = np.where((left | (y == 0)) & (a > 0) & (b > 0), density, found)
    nowhere = ~((a >= 0) & (b >= 0) & (x >= 0) & (y >= 0)) | (a == 0) & (b == 0) | np.isinf(a) & np.isinf(b)
    return np.where(nowhere, np.nan, found)


def _inside(a: Array, b: Array, x: Array, y: Array, part: int, logs: bool) -> Array:
    """By regions: I itself, 1 − I, or log I without its factor, whichever is known without a difference."""
    found = np.full_like(a, np.nan)
    left = np.ones_like(a, dtype=bool)

    def finish(at: NDArray[np.intp], value: Array, slopes: tuple[Array, Array], log_value: Array) -> None:
        if part == 0:
            found[at] = log_value if logs else value
        elif part == 3:
            density = a[at] * np.exp(_factor(a[at], b[at], x[at], y[at])[0]) / (x[at] * y[at])
            found[at] = density / value if logs else density
        else:
            found[at] = slopes[part - 1] / value if logs else slopes[part - 1]
        left[at] = False

    near = np.flatnonzero((b < 1) & (a * y <= 1) & (y <= 0.7))
    if len(near):
        value, by_b, by_a = _rest(b[near], a[near], y[near])
        small = value <= 0.5
        finish(near[small], value[small], (by_a[small], by_b[small]), np.log(value[small]))
    rest = np.full_like(a, np.nan)
    near = np.flatnonzero(left & (a < 1) & (b * x <= 1) & (x <= 0.7))
    if len(near):
        rest[near], by_a, by_b = _rest(a[near], b[near], x[near])
        used = (rest[near] <= 0.5) | (a[near] * y[near] < b[near] * x[near])
        one = rest[near][used]
        finish(near[used], 1 - one, (-by_a[used], -by_b[used]), np.log1p(-one))
    before = np.flatnonzero(left & (a * y >= b * x))
    if len(before):
        sides = a[before], b[before], x[before], y[before]
        factor, total, slopes = _direct(*sides, logs=logs)
        if part == 3 and logs:
            found[before] = sides[0] / (sides[2] * sides[3] * total)
        elif logs:
            found[before] = slopes[part - 1] if part else factor + np.log(total)
        else:
            value = np.exp(factor) * total
            finish(before, value, (value * slopes[0], value * slopes[1]), value)
        left[before] = False
    after = np.flatnonzero(left)
    if len(after):
        factor, total, (by_b, by_a) = _direct(b[after], a[after], y[after], x[after], logs=False)
        one = np.exp(factor) * total
        finish(after, 1 - one, (-one * by_a, -one * by_b), np.log1p(-one))
    return found


def _direct(a: Array, b: Array, x: Array, y: Array, *, logs: bool) -> tuple[Array, Array, tuple[Array, Array]]:
    """The logarithm of the factor of I, I less the factor, and the derivatives of log I by a and b; for x up to a / (a + b)."""
    factor, by_a, by_b = _factor(a, b, x, y)
    total, in_a, in_b = np.zeros_like(a), np.zeros_like(a), np.zeros_like(a)
    there = logs | (np.exp(factor) != 0)  # elsewhere I is 0
    short = (x <= 0.6) & ((a + b) * x <= 0.6 * (a + 1))
    for where, function in ((there & short, _series), (there & ~short, _fraction)):
        at = np.flatnonzero(where)
        if len(at):
            total[at], in_a[at], in_b[at] = function(a[at], b[at], x[at], y[at])
    return factor, total, (by_a + in_a, by_b + in_b)


def _factor(a: Array, b: Array, x: Array, y: Array) -> _Three:
    """log(xᵃ yᵇ / (a B(a, b))), and its derivatives by a and b."""
    away = a * y - b * x
    d, e, p, q = -away / a, away / b, x * ((a + b) / a), y * ((a + b) / b)
    log_x = np.where(x < 0.5, np.log(x), np.log1p(-y))
    log_y = np.where(y < 0.5, np.log(y), np.log1p(-x))
    by_a = np.where(a < FAR, log_x - 1 / (a + b) + digamma_difference(b, a + 1), _log(d, p) + digamma_tail(b, a) - 1 / a)
    by_b = np.where(b < FAR, log_y + digamma_difference(a, b), _log(e, q) + digamma_tail(a, b))
    least, most = np.minimum(a, b), np.maximum(a, b)
    large = a * log1pmx(d, p) + b * log1pmx(e, q) - (stirling(a) + stirling(b) - stirling(a + b))
    large = large - 0.5 * (np.log(a) + np.log1p(a / b)) - 0.5 * np.log(2 * np.pi)
    small = a * log_x + b * log_y - np.log(a) - (by_torch(torch.lgamma, least) - gamma_ratio(least, most))
    return np.where(least >= FAR, large, small), by_a, by_b


def _log(d: Array, ratio: Array) -> Array:
    """log(1 + d)"""
    return np.where(np.abs(d) > 0.5, np.log(ratio), np.log1p(d))


def _series(a: Array, b: Array, x: Array, y: Array) -> _Three:
    """₂F₁(a + b, 1; a + 1; x), and the derivatives of its logarithm: DLMF 8.17.8."""

    def advance(n: int, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
        a, b, x, total, term, in_a, in_b, sum_a, sum_b = state
        below = a + n
        ratio = (a + b + (n - 1)) * x / below
        in_a = in_a * ratio + term * x * (1 - b) / (below * below)
        in_b = in_b * ratio + term * x / below
        term = term * ratio
        total, sum_a, sum_b = total + term, sum_a + in_a, sum_b + in_b
        done = (term < 1e-17 * total) & (np.abs(in_a) <= 1e-17 * np.abs(sum_a)) & (in_b <= 1e-17 * sum_b)
        return (a, b, x, total, term, in_a, in_b, sum_a, sum_b), done

    one, none = np.ones_like(a), np.zeros_like(a)
    _, _, _, total, *_, sum_a, sum_b = iterate(advance, a, b, x, one, one, none, none, none, none)
    return total, sum_a / total, sum_b / total


def _fraction(a: Array, b: Array, x: Array, y: Array) -> _Three:
    """a times the continued fraction of DiDonato and Morris by Lentz's method, and the derivatives of its logarithm."""

    def advance(n: int, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
        a, b, x, y, away, s, c, c_a, c_b, f, f_a, f_b, value, log_a, log_b = state
        p = a + (n - 1)
        u, w = p * (p + b) / (s * s), n * (b - n) * x * x
        part, part_a, part_b = u * w, ((2 * p + b) / (s * s) - 2 * u / s) * w, p / (s * s) * w + u * n * x * x
        old, s = s, s + 2
        h, k = (a + n) / s, away + 1 + n * (1 + y)
        at = n + n * (b - n) * x / old + h * k
        at_a = -n * (b - n) * x / (old * old) + (n + 1) / (s * s) * k + h * y
        at_b = n * x / old - h * x
        below, below_a, below_b = at + part * f, at_a + part_a * f + part * f_a, at_b + part_b * f + part * f_b
        f = 1 / below
        f_a, f_b = -below_a * f * f, -below_b * f * f
        share = part / c
        c_a, c_b = at_a + part_a / c - share * c_a / c, at_b + part_b / c - share * c_b / c
        c = at + share
        by, slope_a, slope_b = c * f, c_a / c, c_b / c
        more_a, more_b = slope_a - below_a * f, slope_b - below_b * f
        value, log_a, log_b = value * by, log_a + more_a, log_b + more_b
        done = np.abs(by - 1) < 5e-16
        for more, slope, log in ((more_a, slope_a, log_a), (more_b, slope_b, log_b)):
            done &= np.abs(more) <= 1e-16 * np.abs(log) + 3e-16 * np.abs(slope)
        return (a, b, x, y, away, s, c, c_a, c_b, f, f_a, f_b, value, log_a, log_b), done

    away, s, none = a * y - b * x, a + 1, np.zeros_like(a)
    h, k = a / s, away + 1
    at, at_a, at_b = h * k, k / (s * s) + h * y, -h * x
    start = a, b, x, y, away, s, at, at_a, at_b, none, none, none, at, at_a / at, at_b / at
    *_, value, log_a, log_b = iterate(advance, *start)
    return a / value, 1 / a - log_a, -log_b


def _rest(a: Array, b: Array, x: Array) -> _Three:
    """1 − I for a < 1 and small b·x, where nothing is taken from 1, and its derivatives by a and b: DLMF 8.17.7."""

    def advance(n: int, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
        a, b, x, term, in_b, total, sum_a, sum_b = state
        ratio = (n - b) * x / n
        in_b = in_b * ratio - term * (x / n)
        term = term * ratio
        total, sum_a, sum_b = total + term / (a + n), sum_a - term / ((a + n) * (a + n)), sum_b + in_b / (a + n)
        return (a, b, x, term, in_b, total, sum_a, sum_b), (np.abs(term) < 1e-18) & (np.abs(in_b) < 1e-18)

    none = np.zeros_like(a)
    *_, total, sum_a, sum_b = iterate(advance, a, b, x, np.ones_like(a), none, none, none, none)
    u = a * np.log(x) - log_gamma1p(a) + gamma_ratio(a, b)
    whole = np.exp(u)
    u_a = np.log(x) - by_torch(torch.digamma, 1 + a) + by_torch(torch.digamma, a + b)
    u_b = digamma_difference(a, b)
    by_a, by_b = u_a * (1 + a * total) + total + a * sum_a, u_b * (1 + a * total) + a * sum_b
    return -np.expm1(u) - whole * a * total, -whole * by_a, -whole * by_b


def _kernel(args: tuple[Array, ...], which: int) -> Array:
    return incomplete_beta(args[0], args[1], args[2], args[3], BetaWhich(which))


_BY = (BetaWhich.BY_A, BetaWhich.BY_B, BetaWhich.BY_X)
_LOG_BY = (BetaWhich.LOG_BY_A, BetaWhich.LOG_BY_B, BetaWhich.LOG_BY_X)

#: `sursum::incomplete_beta(a, b, x, y, which)`; the derivative by x is that along y = 1 − x.
INCOMPLETE_BETA = SpecialOperator("incomplete_beta", 4, _kernel, {
    BetaWhich.VALUE: (*((by, 1.0) for by in _BY), None),
    BetaWhich.LOG: (*((by, 1.0) for by in _LOG_BY), None),
})  # fmt: skip
