"""Series of the gamma function and its relatives, on vectors of NumPy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sursum.common.special.special_operator import Array

#: From here on the asymptotic series are as accurate as doubles.
FAR = 10.0


def by_torch(function: Callable[[Tensor], Tensor], x: Array) -> Array:
    """A function of torch's."""
    return function(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def log1pmx(d: Array, ratio: Array) -> Array:
    """log(1 + d) − d; `ratio` is 1 + d."""
    r = np.where(np.abs(d) > 0.5, 0.0, d / (2 + d))
    total, power = np.zeros_like(d), np.ones_like(d)
    for k in range(3, 41, 2):
        total += power / k
        power = power * r * r
    return np.where(np.abs(d) > 0.5, np.log(ratio) - d, 2 * r * r * r * total - r * d)


def stirling(z: Array) -> Array:
    """log Γ(z) less Stirling's formula, for z from 10 on."""
    w = 1 / (z * z)
    return np.asarray(np.polyval([1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12], w) / z)


def gamma_ratio(b: Array, a: Array) -> Array:
    """log(Γ(a + b) / Γ(a)), as accurate relative to b where b is small."""
    found = np.zeros_like(a)
    for _ in range(int(FAR)):
        near = a < FAR
        found = np.where(near, found - np.log1p(b / a), found)
        a = np.where(near, a + 1, a)
    # The difference of what Stirling's formula leaves, its first two terms by their differences.
    z = a + b
    p, q = 1 / a, 1 / z
    v, w = p * p, q * q
    close = b * q * p * (1 / 12 - (v + p * q + w) / 360)
    return np.asarray(found + (a - 0.5) * np.log1p(b / a) + b * (np.log(z) - 1) - close + (_far(q) - _far(p)))


def _far(p: Array) -> Array:
    """The later terms of `stirling`, of 1/z."""
    v = p * p
    return np.asarray(p * v * v * np.polyval([1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260], v))


def digamma_difference(b: Array, a: Array) -> Array:
    """ψ(a + b) − ψ(a), as accurate relative to b where b is small."""
    found = np.zeros_like(a)
    for _ in range(int(FAR)):
        near = a < FAR
        found = np.where(near, found + b / (a * (a + b)), found)
        a = np.where(near, a + 1, a)
    return found + np.log1p(b / a) + digamma_tail(b, a)


def digamma_tail(b: Array, a: Array) -> Array:
    """ψ(a + b) − ψ(a) − log((a + b) / a), for a from 10 on."""
    p, q = 1 / a, 1 / (a + b)
    return b * q * p * (0.5 + (p + q) / 12) + (_tail(q * q) - _tail(p * p))


def _tail(w: Array) -> Array:
    return np.asarray(w * w * np.polyval([-1 / 12, 691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120], w))


def log_gamma1p(a: Array) -> Array:
    """log Γ(1 + a) for a ≥ 0."""
    series = np.polyval([-0.20738555102867398527, 0.27058080842778454788, -0.40068563438653142847, 0.82246703342411321824,
                         -0.57721566490153286061, 0.0], a)  # fmt: skip
    return np.where(a < 1e-3, series, by_torch(torch.lgamma, a + 1))
