"""`InverseGaussian`: the time at which a Brownian motion with drift first reaches a line."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_normal_cdf
from sursum.distributions.family import Family, normal, uniform
from sursum.distributions.tails import Tails, log_tilted


class InverseGaussian(Family):
    r"""The inverse Gaussian, or Wald, distribution.

    .. math:: p(x) = \sqrt{\frac{\lambda}{2 \pi x^3}} \exp\left(-\frac{\lambda (x - \mu)^2}{2 \mu^2 x}\right), \quad x > 0

    Args:
        loc: the mean μ > 0.
        concentration: λ > 0; the variance is μ³/λ.

    References:
        Michael, Schucany, Haas (1976), Generating random variates using transformations with multiple roots.

    Example:
        >>> InverseGaussian(1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-0.5724)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive
    loc: Tensor
    concentration: Tensor

    def __init__(
        self, loc: Tensor | float = 1.0, concentration: Tensor | float = 1.0, validate_args: bool | None = None
    ) -> None:
        self._keep((), validate_args, loc=loc, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.loc**3 / self.concentration

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        half = self.loc / (2 * self.concentration) * normal(self.loc, shape).square()
        # The smaller root, 1 + h − √(h(2 + h)), without the difference.
        root = self.loc / (1 + half + torch.sqrt(half * (2 + half)))
        other = uniform(self.loc, shape) > self.loc / (self.loc + root)
        return torch.where(other, self.loc.square() / root, root)

    def _log_density(self, value: Tensor) -> Tensor:
        away = (value - self.loc) / self.loc
        norm = 0.5 * torch.log(self.concentration) - 0.5 * math.log(2 * math.pi) - 1.5 * torch.log(value)
        return norm - self.concentration * away.square() / (2 * value)

    def _log_tails(self, value: Tensor) -> Tails:
        root = torch.sqrt(self.concentration / value)
        low = root * (value / self.loc - 1)
        more = log_tilted(-low, 2 * root)  # 2 λ / μ + log Φ(−low − 2 root), whose large terms cancel
        above = log_normal_cdf(-low)
        gap = torch.clamp(more - above, max=-torch.finfo(value.dtype).tiny)
        return torch.logaddexp(log_normal_cdf(low), more), above + torch.log(-torch.expm1(gap))

    def _radius(self, value: Tensor) -> Tensor:
        return value
