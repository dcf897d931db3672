"""`Chi`: the length of a vector of normal numbers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_gammainc, log_gammaincc
from sursum.common.torch_private import standard_gamma
from sursum.distributions.concentrated import log_gamma_power
from sursum.distributions.family import Family
from sursum.distributions.log_gamma import log_rising
from sursum.distributions.tails import Tails


class Chi(Family):
    r"""The length of a vector of ν normal numbers with standard deviation s, where ν need not be whole.

    .. math:: p(x) = \frac{2}{x\, \Gamma(\nu/2)} \left(\frac{x^2}{2 s^2}\right)^{\nu/2} e^{-x^2 / 2 s^2}, \quad x > 0

    One number has the half-normal distribution, two have Rayleigh's, and three that of Maxwell: the speed of a molecule.

    Args:
        df: ν > 0.
        scale: s > 0.

    References:
        Johnson, Kotz, Balakrishnan (1994), Continuous Univariate Distributions 1, section 18.1.

    Example:
        >>> Chi(3.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-0.7258)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"df": constraints.positive, "scale": constraints.positive}
    support = constraints.positive
    has_rsample = True
    df: Tensor
    scale: Tensor

    def __init__(self, df: Tensor | float, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, df=df, scale=scale)

    @property
    def mean(self) -> Tensor:
        half = self.df / 2
        return self.scale * math.sqrt(2.0) * torch.exp(log_rising(half, torch.full_like(half, 0.5)))

    @property
    def variance(self) -> Tensor:
        # 2 (a − r²) with r = Γ(a + 1/2)/Γ(a), which is less than √a by next to nothing where a is large.
        half = self.df.double() / 2
        gap = 2 * log_rising(half, torch.full_like(half, 0.5)) - half.log()
        found = torch.where(half > 1e5, 0.5 - 1 / (16 * half), -2 * half * torch.expm1(gap))
        return self.scale.square() * found.to(self.scale)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.scale * torch.sqrt(2 * standard_gamma((self.df / 2).expand(shape).contiguous()))

    def _log_density(self, value: Tensor) -> Tensor:
        log_x = torch.log(value)
        log_half_square = 2 * (log_x - torch.log(self.scale)) - math.log(2.0)
        return math.log(2.0) - log_x + log_gamma_power(self.df / 2, (value / self.scale).square() / 2, log_half_square)

    def _log_tails(self, value: Tensor) -> Tails:
        a, x = self.df / 2, (value / self.scale).square() / 2
        return log_gammainc(a, x), log_gammaincc(a, x)

    def _radius(self, value: Tensor) -> Tensor:
        return value
