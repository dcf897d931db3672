"""`SkewNormal` and `ExGaussian`: skewed densities around a normal one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_normal_cdf
from sursum.distributions.family import Family, normal, uniform
from sursum.distributions.tails import Tails, log_tilted


class SkewNormal(Family):
    r"""The skew normal, :math:`p(x) = \frac{2}{\omega} \varphi(z)\, \Phi(\alpha z)`, z = (x − ξ)/ω.

    Args:
        loc: ξ.
        scale: ω > 0.
        skewness: α; 0 gives the normal, positive numbers a long right tail.

    References:
        Azzalini (1985), A class of distributions which includes the normal ones.

    Example:
        >>> SkewNormal(0.0, 1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-0.7488)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "skewness": constraints.real,
    }
    support = constraints.real
    has_rsample = True
    loc: Tensor
    scale: Tensor
    skewness: Tensor

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        skewness: Tensor | float = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, skewness=skewness)

    @property
    def _share(self) -> Tensor:
        return self.skewness / torch.sqrt(1 + self.skewness.square())

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * self._share * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi * self._share.square())

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        along, across = normal(self.loc, shape).abs(), normal(self.loc, shape)
        rest = 1 / torch.sqrt(1 + self.skewness.square())
        return self.loc + self.scale * (self._share * along + rest * across)

    def _log_density(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        tail: Tensor = log_normal_cdf(self.skewness * z)
        return tail - z.square() / 2 + 0.5 * math.log(2 / math.pi) - self.scale.log()


class ExGaussian(Family):
    r"""A normal number plus an exponential one, as reaction times have it.

    .. math:: p(x) = \lambda \exp\left(\tfrac{1}{2} \lambda^2 \sigma^2 - \lambda (x - \mu)\right)
        \Phi\left(\frac{x - \mu}{\sigma} - \lambda \sigma\right)

    Args:
        loc: μ of the normal.
        scale: σ > 0 of the normal.
        rate: λ > 0 of the exponential.

    Example:
        >>> ExGaussian(0.0, 1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-1.1479)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.real
    has_rsample = True
    loc: Tensor
    scale: Tensor
    rate: Tensor

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        rate: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, rate=rate)

    @property
    def mean(self) -> Tensor:
        return self.loc + 1 / self.rate

    @property
    def variance(self) -> Tensor:
        return self.scale.square() + 1 / self.rate.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + self.scale * normal(self.loc, shape) - torch.log(uniform(self.loc, shape)) / self.rate

    def _exponent(self, value: Tensor) -> Tensor:
        return log_tilted((value - self.loc) / self.scale, self.rate * self.scale)

    def _log_density(self, value: Tensor) -> Tensor:
        return self.rate.log() + self._exponent(value)

    def _log_tails(self, value: Tensor) -> Tails:
        z = (value - self.loc) / self.scale
        more = self._exponent(value)
        below, above = log_normal_cdf(z), log_normal_cdf(-z)
        return below + torch.log(-torch.expm1(torch.clamp(more - below, max=0.0))), torch.logaddexp(above, more)
