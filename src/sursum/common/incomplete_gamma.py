"""The regularised incomplete gamma function and its derivatives, in double precision.

torch's `gammainc` is right to ten digits in places, and has no derivative by the shape.

References: Moore, "Algorithm AS 187: Derivatives of the incomplete gamma integral" (1982), for the power series and the
continued fraction with their derivatives; Temme's expansion for large shapes, DLMF 8.12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.torch_private import DisableTorchFunction

Array = NDArray[np.float64]

#: From this shape on, Temme's expansion.
LARGE = 1e6
_MOST_TERMS = 1_000_000
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
    return _differentiable(input, other, Which.LOWER)


def gammaincc(input: Tensor, other: Tensor) -> Tensor:
    """The upper one, 1 − P(a, x), accurate where it is small; see `gammainc`."""
    return _differentiable(input, other, Which.UPPER)


#: torch's functions, and those here that take their places in double precision.
INCOMPLETE_GAMMA: Mapping[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.special.gammainc, torch.igamma, Tensor.igamma), gammainc),
    **dict.fromkeys((torch.special.gammaincc, torch.igammac, Tensor.igammac), gammaincc),
}


def _differentiable(shape: Any, x: Any, which: Which) -> Tensor:
    with DisableTorchFunction():
        a, x = torch.broadcast_tensors(shape.to(torch.float64), x.to(torch.float64))
        found: Tensor = _IncompleteGamma.apply(a, x, which)
    return found


class _IncompleteGamma(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor, which: Which) -> Tensor:
        """P or 1 − P."""
        found: Tensor = operator()(a, x, which)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Which], output: Tensor) -> None:
        """Keeps the arguments."""
        ctx.save_for_backward(*inputs[:2])
        ctx.sign = -1.0 if inputs[2] == Which.UPPER else 1.0

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The derivatives that are asked for."""
        arguments, slope = ctx.saved_tensors, slopes[0] * ctx.sign
        by = (Which.BY_SHAPE, Which.BY_POINT)
        found = [slope * operator()(*arguments, which) if needed else None
                 for which, needed in zip(by, ctx.needs_input_grad[:2], strict=True)]  # fmt: skip
        return found[0], found[1], None


def operator() -> Any:
    """The function as an operator of torch's, `sursum::incomplete_gamma(a, x, which)`, so that a capture sees it."""
    with _LOCK:
        return _registered()[1]


_LOCK = Lock()


@cache
def _registered() -> tuple[torch.library.Library, Any]:
    """What holds the registration, which lives as long as the process, and the operator."""
    library = torch.library.Library("sursum", "FRAGMENT")
    library.define("incomplete_gamma(Tensor a, Tensor x, int which) -> Tensor")
    library.impl("incomplete_gamma", _kernel, "CompositeExplicitAutograd")
    torch.library.register_vmap("sursum::incomplete_gamma", _batched, lib=library)
    return library, torch.ops.sursum.incomplete_gamma.default


def _batched(info: Any, dims: tuple[int | None, ...], a: Tensor, x: Tensor, which: int) -> tuple[Tensor, int]:
    """Both arguments have the same shape but for the batch."""
    a, x = (t.unsqueeze(0) if dim is None else t.movedim(dim, 0) for t, dim in zip((a, x), dims[:2], strict=True))
    found: Tensor = operator()(*torch.broadcast_tensors(a, x), which)
    return found, 0


def _kernel(a: Tensor, x: Tensor, which: int) -> Tensor:
    shape, point = torch.broadcast_tensors(a, x)
    found = incomplete_gamma(shape.detach().numpy().ravel(), point.detach().numpy().ravel(), Which(which))
    return torch.from_numpy(found).reshape(shape.shape)


# By regions -----------------------------------------------------------------------------------------------------------


def incomplete_gamma(a: Array, x: Array, which: Which) -> Array:
    """The same of vectors of NumPy's; the C of `compiler/native` computes it alike."""
    with np.errstate(all="ignore"):
        inner = (a >= 0) & (x > 0) & np.isfinite(a) & np.isfinite(x) & ((a > 0) | (which == Which.BY_SHAPE))
        factor = np.where(inner, _factor(a, x), 0.0)
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


def _log1pmx(d: Array, ratio: Array) -> Array:
    """log(1 + d) − d for d = x/a − 1."""
    r = np.where(np.abs(d) > 0.5, 0.0, d / (2 + d))
    total, power = np.zeros_like(d), np.ones_like(d)
    for k in range(3, 41, 2):
        total += power / k
        power = power * r * r
    return np.where(np.abs(d) > 0.5, np.log(ratio) - d, 2 * r * r * r * total - r * d)


def _factor(a: Array, x: Array) -> Array:
    """xᵃ e⁻ˣ / Γ(a + 1)"""
    small = np.exp(a * np.log(x) - x - _by_torch(torch.lgamma, a + 1))
    large = np.exp(a * _log1pmx((x - a) / a, x / a) - _series_in(a, (12, -360, 1260, -1680, 1188, -360360 / 691, 156)))
    return np.where(a < 10, small, large / (_ROOT * np.sqrt(a)))


def _series_in(a: Array, divisors: tuple[float, ...]) -> Array:
    """Σ 1 / (cₖ a²ᵏ⁺¹)"""
    return np.asarray(sum(1 / (c * a ** (2.0 * k + 1)) for k, c in enumerate(divisors)), dtype=np.float64)


def _by_torch(function: Callable[[Tensor], Tensor], x: Array) -> Array:
    return function(torch.from_numpy(x)).numpy()


def _logs(a: Array, x: Array) -> Array:
    """log(x / a)"""
    d = (x - a) / a
    return np.where(np.abs(d) > 0.5, np.log(x / a), np.log1p(d))


def _drift(a: Array, x: Array) -> Array:
    """log x − ψ(a + 1)"""
    small = np.log(x) - _by_torch(torch.digamma, a + 1)
    tail = _series_in(a, (12, -120, 252, -240, 132, -32760 / 691, 12)) / a
    return np.where(a < 10, small, _logs(a, x) - 0.5 / a + tail)


def _expansion(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """Temme's, for a large shape."""
    d, logs = (x - a) / a, _logs(a, x)
    t = -a * _log1pmx(d, x / a)
    eta = np.copysign(np.sqrt(2 * t / a), d)
    c = np.polyval([1 / 25515, -139 / 777600, 1 / 2835, 1 / 864, -2 / 135, 1 / 12, -1 / 3], eta)
    more = np.polyval([25 / 12096, -1 / 288, -1 / 540], eta) / a
    peak = np.exp(-t) / (_ROOT * np.sqrt(a))
    if which is Which.BY_SHAPE:
        slope = np.polyval([1 / 288, -4 / 135, 1 / 12], eta)
        share, move = (np.where(eta == 0, 1.0, of / eta) for of in (logs, d))
        return np.asarray(-peak * (share + (c + more) * (logs - 0.5 / a) - (slope * move + more) / a))
    sign = 1.0 if which is Which.UPPER else -1.0
    tail = _by_torch(torch.erfc, sign * np.copysign(np.sqrt(t), d))
    return np.asarray(0.5 * tail + sign * peak * (c + more))


def _rest_of_one(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """1 − P for a shape below 1, where it is small: nothing is taken from 1."""
    total, term = np.zeros_like(a), np.ones_like(a)
    for n in range(1, 40):
        term = term * (-x / n)
        total += term / (a + n)
    logs = np.polyval([-0.20738555102867398527, 0.27058080842778454788, -0.40068563438653142847, 0.82246703342411321824,
                       -0.57721566490153286061, 0.0], a)  # fmt: skip
    u = a * np.log(x) - np.where(a < 1e-3, logs, _by_torch(torch.lgamma, a + 1))
    return np.asarray(-np.expm1(u) - np.exp(u) * a * total)


def _series(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """The power series, and its derivative by the shape."""
    total, term, slope, change = np.ones_like(a), np.ones_like(a), np.zeros_like(a), np.zeros_like(a)
    for k in range(1, _MOST_TERMS):
        ratio = x / (a + k)
        term = term * ratio
        change = change * ratio - term / (a + k)
        total += term
        slope += change
        if ((term < 1e-17 * total) & (np.abs(change) <= 1e-17 * np.abs(slope))).all():
            break
    if which is Which.BY_SHAPE:
        return factor * (total * _drift(a, x) + slope)
    return 1 - factor * total if which is Which.UPPER else factor * total


def _fraction(a: Array, x: Array, factor: Array, which: Which) -> Array:
    """The continued fraction by Lentz's method; the derivative of its logarithm is added up."""
    b = x + 1 - a
    c, dc, f = np.full_like(a, np.inf), np.zeros_like(a), 1 / b
    df, value, slope = f * f, f.copy(), f.copy()
    for k in range(1, _MOST_TERMS):
        n = k * (a - k)
        b = b + 2
        below = n * f + b
        share = (1 - k * f - n * df) / below
        f = 1 / below
        df = share * f
        dc = k / c - n / c * (dc / c) - 1
        c = b + n / c
        by, change = c * f, dc / c + share
        value *= by
        slope += change
        if ((np.abs(by - 1) < 2e-16) & (np.abs(change) <= 1e-16 * np.abs(slope))).all():
            break
    if which is Which.BY_SHAPE:
        return -factor * value * (1 + a * (_drift(a, x) + slope))
    upper = factor * a * value
    return upper if which is Which.UPPER else 1 - upper
