"""`Skellam`: the difference of two Poisson counts."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.constraints import integer
from sursum.distributions.family import Family

_SWITCH = 60.0
"""The size of √(k² + x²) from which the expansion in its reciprocal is used."""
_TERMS = 100


class Skellam(Family):
    r"""The difference of two independent Poisson counts, as of goals of two teams:

    .. math:: p(k) = e^{-(\mu_1 + \mu_2)} \left(\frac{\mu_1}{\mu_2}\right)^{k/2} I_{|k|}(2 \sqrt{\mu_1 \mu_2})

    Args:
        rate1: μ₁ > 0, of the first count.
        rate2: μ₂ > 0, of the one that is subtracted.

    References:
        Skellam (1946), The frequency distribution of the difference between two Poisson variates.

    Example:
        >>> Skellam(1.0, 2.0).log_prob(torch.tensor(0.0)).exp()
        tensor(0.2117)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"rate1": constraints.positive, "rate2": constraints.positive}
    support = integer
    rate1: Tensor
    rate2: Tensor

    def __init__(self, rate1: Tensor | float, rate2: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, rate1=rate1, rate2=rate2)

    @property
    def mean(self) -> Tensor:
        return self.rate1 - self.rate2

    @property
    def variance(self) -> Tensor:
        return self.rate1 + self.rate2

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return torch.poisson(self.rate1.expand(shape)) - torch.poisson(self.rate2.expand(shape))

    def _log_density(self, value: Tensor) -> Tensor:
        root1, root2 = torch.sqrt(self.rate1), torch.sqrt(self.rate2)
        tilt = value / 2 * (torch.log(self.rate1) - torch.log(self.rate2))
        return tilt - (root1 - root2).square() + _log_bessel(value.abs(), 2 * root1 * root2)


def _log_bessel(order: Tensor, x: Tensor) -> Tensor:
    r""":math:`\log e^{-x} I_k(x)` for integers k ≥ 0, by the power series or, far out, by Debye's expansion.

    The terms of either are of one sign near the largest, so that there is no cancellation.

    References:
        DLMF 10.25.2 and 10.41.3, the latter in powers of 1/√(k² + x²), which serves k = 0 as well.
    """
    order, x = torch.broadcast_tensors(order, x)
    far = torch.hypot(order, x) > _SWITCH
    k, y = torch.where(far, 1.0, order).unsqueeze(-1), torch.where(far, 1.0, x).unsqueeze(-1)
    m = torch.arange(_TERMS, dtype=x.dtype, device=x.device)
    terms = (2 * m + k) * torch.log(y / 2) - torch.lgamma(m + 1) - torch.lgamma(m + k + 1)
    series = terms.logsumexp(-1) - y.squeeze(-1)
    k, y = torch.where(far, order, _SWITCH), torch.where(far, x, _SWITCH)
    size = torch.hypot(k, y)
    square = (k / size).square()
    total = torch.zeros_like(size)
    for polynomial in reversed(_debye(8)):
        value = torch.zeros_like(size)
        for coefficient in reversed(polynomial):
            value = coefficient + square * value
        total = (value + total) / size
    # √(k² + x²) − x − k asinh(k/x), the first two without their difference.
    exponent = k.square() / (size + y) - k * torch.asinh(k / y)
    expansion = exponent - 0.5 * torch.log(2 * math.pi * size) + torch.log1p(total)
    return torch.where(far, expansion, series)


@functools.cache
def _debye(count: int) -> tuple[tuple[float, ...], ...]:
    """The coefficients of u₁(t)/t, u₂(t)/t², … in powers of t² (DLMF 10.41.9)."""
    found, now = [], [Fraction(1)]
    for n in range(count):
        # In powers of t², with tⁿ taken out: u' and the integral raise or lower the powers by one each.
        later = [Fraction(0)] * (len(now) + 1)
        for j, c in enumerate(now):
            power = n + 2 * j
            later[j] += c * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            later[j + 1] -= c * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        found.append(tuple(float(c) for c in later))
        now = later
    return tuple(found)
