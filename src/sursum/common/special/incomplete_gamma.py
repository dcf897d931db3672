"""The regularised incomplete gamma function and its derivatives, in double precision.

torch's `gammainc` is right to ten digits in places, and has no derivative by the shape.

References: Moore, "Algorithm AS 187: Derivatives of the incomplete gamma integral" (1982), for the power series and the
continued fraction with their derivatives; Temme's expansion for large shapes, DLMF 8.12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.special.gamma_series import by_torch, log1pmx, log_gamma1p, stirling
from sursum.common.special.iteration import iterate
from sursum.common.special.special_operator import Array, SpecialOperator

#: From this shape on, Temme's expansion.
LARGE = 1e6
_ROOT = np.sqrt(2 * np.pi)


class Which(IntEnum):
    """What is computed: P(a, x), 1 − P, and the derivatives of P by a and by x."""

    LOWER = 0
    UPPER = 1
    BY_SHAPE = 2
    BY_POINT = 3


def gammainc(input: Tensor, other: Tensor) -> Tensor:
    r"""The regularised lower incomplete gamma function, with its derivatives by the shape and by x.

    .. math:: P(a, x) = \frac{1}{\Gamma(a)} \int_0^x t^{a - 1} e^{-t} \, dt

    Arguments:
        input: the shape a, at least 0; a = 0 and x = 0, or both infinite, give NaN.
        other: x, at least 0; the two are broadcast, and are computed in float64.

    Example:
        >>> a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        >>> p = gammainc(a, torch.tensor(1.0, dtype=torch.float64))
        >>> round(float(p.detach()), 9), round(float(torch.autograd.grad(p, a)[0]), 9)
        (0.264241118, -0.276196046)
    """
    return INCOMPLETE(Which.LOWER, input, other)


def gammaincc(input: Tensor, other: Tensor) -> Tensor:
    """The upper one, 1 − P(a, x), accurate where it is small; see `gammainc`."""
    return INCOMPLETE(Which.UPPER, input, other)


#: torch's functions, and those here that take their places in double precision.
INCOMPLETE_GAMMA: Mapping[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.special.gammainc, torch.igamma, Tensor.igamma), gammainc),
    **dict.fromkeys((torch.special.gammaincc, torch.igammac, Tensor.igammac), gammaincc),
}


# By regions -----------------------------------------------------------------------------------------------------------


def incomplete_gamma(a: Array, x: Array, which: Which) -> Array:
    """The same of vectors of NumPy's; the C of `compiler/native` computes it alike."""
    with np.errstate(all="ignore"):
        inner = (a >= 0) & (x > 0) & np.isfinite(a) & np.isfinite(x) & ((a > 0) | (which == Which.BY_SHAPE))
        factor = np.where(inner, np.exp(log_factor(a, x)), 0.0)
        inner &= factor > 0
        found = _at_the_edges(a, x, which)
        for region, function in _regions(a, x, which):
            at = np.flatnonzero(inner & region)
            if len(at):
                found[at] = function(a[at], x[at], factor[at], which)
    return found


#: Of shape, point, and the first term of the series.
Region = Callable[[Array, Array, Array, Which], Array]


def _regions(a: Array, x: Array, which: Which) -> tuple[tuple[NDArray[np.bool_], Region], ...]:
    if which is Which.BY_POINT:
        return ((np.ones_like(a, dtype=bool), lambda a, x, factor, which: factor * (a / x)),)
    large, below = a >= LARGE, x < a + 1
    rest = below & (a < 1) & (which == Which.UPPER)
    return (large, _expansion), (rest, _rest_of_one), (~large & ~rest & below, _series), (~large & ~below, _fraction)


def _at_the_edges(a: Array, x: Array, which: Which) -> Array:
    """What there is where no density is left, at 0 and at infinity among others; NaN outside."""
    above = (x > a) & np.isfinite(a)
    found = np.zeros_like(a) if which > Which.UPPER else np.where(above == (which is Which.LOWER), 1.0, 0.0)
    if which is Which.BY_POINT:
        found = np.where((x == 0) & (a <= 1), np.where(a < 1, np.inf, 1.0), found)
    nowhere = ~((a >= 0) & (x >= 0)) | (a == 0) & (x == 0) | np.isinf(a) & np.isinf(x)
    return np.where(nowhere, np.nan, found)


def log_factor(a: Array, x: Array) -> Array:
    """log(xᵃ e⁻ˣ / Γ(a + 1))"""
    small = a * np.log(x) - x - by_torch(torch.lgamma, a + 1)
    large = a * log1pmx((x - a) / a, x / a) - stirling(a) - np.log(_ROOT * np.sqrt(a))
    return np.where(a < 10, small, large)


def _series_in(a: Array, divisors: tuple[float, ...]) -> Array:
    """Σ 1 / (cₖ a²ᵏ⁺¹)"""
    return np.asarray(sum(1 / (c * a ** (2.0 * k + 1)) for k, c in enumerate(divisors)), dtype=np.float64)


def _logs(a: Array, x: Array) -> Array:
    """log(x / a)"""
    d = (x - a) / a
    return np.where(np.abs(d) > 0.5, np.log(x / a), np.log1p(d))


def drift(a: Array, x: Array) -> Array:
    """log x − ψ(a + 1)"""
    small = np.log(x) - by_torch(torch.digamma, a + 1)
    tail = _series_in(a, (12, -120, 252, -240, 132, -32760 / 691, 12)) / a
    return np.where(a < 10, small, _logs(a, x) - 0.5 / a + tail)


def _expansion(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """Temme's, for a large shape."""
    d, logs = (x - a) / a, _logs(a, x)
    t = -a * log1pmx(d, x / a)
    eta = np.copysign(np.sqrt(2 * t / a), d)
    c = np.polyval([1 / 25515, -139 / 777600, 1 / 2835, 1 / 864, -2 / 135, 1 / 12, -1 / 3], eta)
    more = np.polyval([25 / 12096, -1 / 288, -1 / 540], eta) / a
    peak = np.exp(-t) / (_ROOT * np.sqrt(a))
    if which is Which.BY_SHAPE:
        slope = np.polyval([1 / 288, -4 / 135, 1 / 12], eta)
        share, move = (np.where(eta == 0, 1.0, of / eta) for of in (logs, d))
        return np.asarray(-peak * (share + (c + more) * (logs - 0.5 / a) - (slope * move + more) / a))
    sign = 1.0 if which is Which.UPPER else -1.0
    tail = by_torch(torch.erfc, sign * np.copysign(np.sqrt(t), d))
    return np.asarray(0.5 * tail + sign * peak * (c + more))


def _rest_of_one(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """1 − P for a shape below 1, where it is small: nothing is taken from 1."""
    total, term = np.zeros_like(a), np.ones_like(a)
    for n in range(1, 40):
        term = term * (-x / n)
        total += term / (a + n)
    u = a * np.log(x) - log_gamma1p(a)
    return np.asarray(-np.expm1(u) - np.exp(u) * a * total)


def _series(a: Array, x: Array, factor: Array, which: Which) -> Array:
    total, slope = power_series(a, x)
    if which is Which.BY_SHAPE:
        return factor * (total * drift(a, x) + slope)
    return 1 - factor * total if which is Which.UPPER else factor * total


def _fraction(a: Array, x: Array, factor: Array, which: Which) -> Array:
    value, slope = continued_fraction(a, x)
    if which is Which.BY_SHAPE:
        return -factor * value * (1 + a * (drift(a, x) + slope))
    upper = factor * a * value
    return upper if which is Which.UPPER else 1 - upper


def power_series(a: Array, x: Array) -> tuple[Array, Array]:
    """P(a, x) less its factor, for x < a + 1, and its derivative by the shape."""

    def advance(k: int, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
        a, x, total, term, slope, change = state
        ratio = x / (a + k)
        term = term * ratio
        change = change * ratio - term / (a + k)
        total, slope = total + term, slope + change
        done = (term < 1e-17 * total) & (np.abs(change) <= 1e-17 * np.abs(slope))
        return (a, x, total, term, slope, change), done

    one, none = np.ones_like(a), np.zeros_like(a)
    _, _, total, _, slope, _ = iterate(advance, a, x, one, one, none, none)
    return total, slope


def continued_fraction(a: Array, x: Array) -> tuple[Array, Array]:
    """1 − P less its factor and a, for x from a + 1 on, by Lentz's method; the derivative of its logarithm is added up."""

    def advance(k: int, state: tuple[Array, ...]) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
        a, b, c, dc, f, df, value, slope = state
        n = k * (a - k)
        b = b + 2
        below = n * f + b
        share = (1 - k * f - n * df) / below
        f = 1 / below
        df = share * f
        dc = k / c - n / c * (dc / c) - 1
        c = b + n / c
        by, change = c * f, dc / c + share
        value, slope = value * by, slope + change
        done = (np.abs(by - 1) < 2e-16) & (np.abs(change) <= 1e-16 * np.abs(slope))
        return (a, b, c, dc, f, df, value, slope), done

    b = x + 1 - a
    f = 1 / b
    *_, value, slope = iterate(advance, a, b, np.full_like(a, np.inf), np.zeros_like(a), f, f * f, f, f)
    return value, slope


def _kernel(args: tuple[Array, ...], which: int) -> Array:
    return incomplete_gamma(args[0], args[1], Which(which))


#: P and 1 − P, `sursum::incomplete_gamma(a, x, which)`.
INCOMPLETE = SpecialOperator("incomplete_gamma", 2, _kernel, {
    Which.LOWER: ((Which.BY_SHAPE, 1.0), (Which.BY_POINT, 1.0)),
    Which.UPPER: ((Which.BY_SHAPE, -1.0), (Which.BY_POINT, -1.0)),
})  # fmt: skip
