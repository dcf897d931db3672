r"""The mass of narrow intervals, where the difference of two tails has no digits.

Where both ends are finite :math:`\log P(a < X \le b)` is

- of a Cauchy distribution the angle between the ends, of a normal one the integral of a series at the middle,
- of a Laplace distribution what the exponentials' difference says,
- of other densities that are smooth at the scale of the interval their integral, :math:`(b - a) \sum_i w_i\, p(x_i)` by the
  ten points of Gauss and Legendre. A density is analytic in a circle around each point, up to the nearest singularity; where
  the interval is no longer than half of its radius, the rule has the digits of a double.

References:
    Trefethen (2008), Is Gauss quadrature better than Clenshaw–Curtis?, SIAM Review 50.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.distributions as td
from torch import Tensor

NODES, WEIGHTS = (tuple(map(float, one)) for one in np.polynomial.legendre.leggauss(10))

MOST = math.log(0.99)
"""The share of the larger tail that the smaller one has at least: with less of it, the difference has its digits."""


Radius = Callable[[Any, Tensor], Tensor | None]


def in_interval(base: Any, low: Tensor, high: Tensor, left: Tensor, found: Tensor, inner: Callable[[], Tensor]) -> Tensor:
    """The logarithm of what lies between two bounds in the support, by whatever has more digits.

    Args:
        left: the logarithm of the share of the smaller tail that the interval leaves over.
        found: the logarithm by the difference of tails.
        inner: a point in the support at which the density is moderate, for what is not computed.
    """
    if isinstance(base, td.Cauchy):
        return _cauchy(base, low, high, found)
    if isinstance(base, td.Normal):
        return _normal(base, low, high, found)
    if isinstance(base, td.Laplace):
        return _laplace(base, low, high, found)
    radius = next((one for kind, one in _RADII.items() if isinstance(base, kind)), getattr(type(base), "_radius", None))
    if radius is None:
        return found
    bounded = torch.isfinite(low) & torch.isfinite(high) & (low < high)
    size = radius(base, torch.where(bounded, low, inner()).detach())
    return found if size is None else _integral(base, bounded, size.detach(), low, high, left, found, inner())


def _integral(
    base: Any, bounded: Tensor, size: Tensor, low: Tensor, high: Tensor, left: Tensor, found: Tensor, inner: Tensor
) -> Tensor:
    """`found`, but between bounds that are finite and near to each other the integral."""
    narrow = bounded & (left > MOST) & (high - low < size / 2)
    # Elsewhere nothing is made of the bounds, or of a radius at them, which lie far beyond the support or far out.
    start = torch.where(narrow, low, inner)
    width = torch.where(narrow, high, inner) - start
    share = torch.tensor([(1 + node) / 2 for node in NODES], dtype=width.dtype, device=width.device)
    weight = torch.tensor([one / 2 for one in WEIGHTS], dtype=width.dtype, device=width.device)
    share, weight = (one.reshape(-1, *(1,) * width.dim()) for one in (share, weight))
    terms = torch.where(narrow, torch.as_tensor(base.log_prob(start + share * width)) + torch.log(weight), 0.0)
    return torch.where(narrow, torch.log(torch.where(narrow, width, 1.0)) + terms.logsumexp(0), found)


def _from_zero(base: Any, x: Tensor) -> Tensor:
    """A power, or an essential singularity, at 0."""
    return x


def _from_either_end(base: Any, x: Tensor) -> Tensor:
    return torch.minimum(x, 1 - x)


def _by_scale(base: Any, x: Tensor) -> Tensor:
    """Singular at a distance from the real line of the scale or more."""
    scale: Tensor = base.scale
    return scale


def _student_t(base: Any, x: Tensor) -> Tensor:
    return torch.hypot(base.scale * base.df.sqrt(), x - base.loc)


_RADII: Mapping[type, Radius] = MappingProxyType({
    td.LogNormal: _from_zero,
    td.Exponential: _from_zero,
    td.Weibull: _from_zero,
    td.Pareto: _from_zero,
    td.Gamma: _from_zero,
    td.InverseGamma: _from_zero,
    td.HalfNormal: _from_zero,
    td.HalfCauchy: _from_zero,
    td.Gumbel: _by_scale,
    td.Beta: _from_either_end,
    td.Kumaraswamy: _from_either_end,
    td.StudentT: _student_t,
})  # fmt: skip


def _cauchy(base: Any, low: Tensor, high: Tensor, found: Tensor) -> Tensor:
    r"""`found`, but between finite bounds :math:`\log(\operatorname{atan2}(b - a, 1 + a b) / \pi)`, the angle from a to b."""
    ends = [(bound - base.loc) / base.scale for bound in (low, high)]
    most = torch.finfo(found.dtype).max ** 0.22  # farther out the derivative of atan2 overflows
    near = (low < high) & (ends[0].abs() < most) & (ends[1].abs() < most)
    bottom, top = torch.where(near, low, 0.0), torch.where(near, high, 1.0)
    a, b = (bottom - base.loc) / base.scale, (top - base.loc) / base.scale
    angle = torch.atan2((top - bottom) / base.scale, 1 + a * b)
    return torch.where(near, torch.log(torch.where(near, angle, 1.0) / math.pi), found)


def _normal(base: Any, low: Tensor, high: Tensor, found: Tensor) -> Tensor:
    """`found`, but for narrow intervals, between whose tails no digits are left, the integral of a series at the middle."""
    bounded = torch.isfinite(low) & torch.isfinite(high)
    low, high = torch.where(bounded, low, 0.0), torch.where(bounded, high, 1.0)  # infinity over a scale has no derivative
    half = (high - low) / (2 * base.scale)
    middle = ((low + high) / 2 - base.loc) / base.scale
    narrow = bounded & (half > 0) & (half * middle.abs().clamp_min(1.0) < 0.05)
    h, m = torch.where(narrow, half, 0.01), torch.where(narrow, middle, 0.0).square()
    h2 = h.square()
    # The even derivatives of φ over φ: Hermite's polynomials.
    more = h2 * ((m - 1) / 6 + h2 * ((m * (m - 6) + 3) / 120 + h2 * (m * (m * (m - 15) + 45) - 15) / 5040))
    series = -m / 2 + torch.log(h + h * more) + 0.5 * math.log(2 / math.pi)
    return torch.where(narrow, series, found)


def _laplace(base: Any, low: Tensor, high: Tensor, found: Tensor) -> Tensor:
    r"""`found`, but between finite bounds :math:`\frac{1}{2}(e^{-|b|} - e^{-|a|})` with the digits of b − a."""
    bounded = torch.isfinite(low) & torch.isfinite(high) & (low < high)
    low, high = torch.where(bounded, low, base.loc - base.scale), torch.where(bounded, high, base.loc + base.scale)
    a, b = (low - base.loc) / base.scale, (high - base.loc) / base.scale
    across = (a < 0) & (b > 0)
    nearer = torch.where(b <= 0, b, -a)
    width = torch.where(across, 1.0, (high - low) / base.scale)
    outside = nearer + torch.log(-torch.expm1(-width))
    both = torch.log(-torch.expm1(torch.where(across, a, -1.0)) - torch.expm1(torch.where(across, -b, -1.0)))
    return torch.where(bounded, torch.where(across, both, outside) - math.log(2.0), found)
