"""`GammaPoisson` and `NegativeBinomial2`: counts with more variance than a Poisson has, the same family in two ways."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import standard_gamma
from sursum.distributions.family import Family
from sursum.distributions.log_gamma import log_rising


class GammaPoisson(Family):
    r"""A Poisson whose rate is Gamma distributed: a negative binomial.

    .. math:: p(x) = \frac{\Gamma(\alpha + x)}{\Gamma(\alpha)\, x!} \left(\frac{\beta}{1 + \beta}\right)^\alpha
        \left(\frac{1}{1 + \beta}\right)^x, \qquad E x = \alpha / \beta

    Args:
        concentration: α > 0, of the Gamma.
        rate: β > 0, of the Gamma.

    Example:
        >>> GammaPoisson(2.0, 1.0).log_prob(torch.tensor(3.0)).exp()
        tensor(0.1250)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative_integer
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: Tensor | float, rate: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, concentration=concentration, rate=rate)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 + 1 / self.rate)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return draw(self.concentration, self.mean, self._extended_shape(torch.Size(sample_shape)))

    def _log_density(self, value: Tensor) -> Tensor:
        return log_density(value, self.concentration, -torch.log1p(self.rate), -torch.log1p(1 / self.rate))


class NegativeBinomial2(Family):
    r"""The negative binomial by its mean μ, with variance :math:`\mu + \mu^2 / k`.

    .. math:: p(x) = \frac{\Gamma(k + x)}{\Gamma(k)\, x!} \left(\frac{k}{k + \mu}\right)^k \left(\frac{\mu}{k + \mu}\right)^x

    Args:
        mean: μ > 0.
        concentration: k > 0; as it grows the distribution becomes that of Poisson.

    Example:
        >>> NegativeBinomial2(2.0, 2.0).log_prob(torch.tensor(3.0)).exp()
        tensor(0.1250)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"mu": constraints.positive, "concentration": constraints.positive}
    support = constraints.nonnegative_integer
    mu: Tensor
    concentration: Tensor

    def __init__(self, mean: Tensor | float, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, mu=mean, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return self.mu

    @property
    def variance(self) -> Tensor:
        return self.mu + self.mu.square() / self.concentration

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return draw(self.concentration, self.mu, self._extended_shape(torch.Size(sample_shape)))

    def _log_density(self, value: Tensor) -> Tensor:
        k, mean = self.concentration, self.mu
        return log_density(value, k, torch.log(mean) - torch.log(k + mean), -torch.log1p(mean / k))


def log_density(value: Tensor, concentration: Tensor, log_more: Tensor, log_done: Tensor) -> Tensor:
    """Of a negative binomial with the logarithms of its two probabilities."""
    return log_rising(concentration, value) - torch.lgamma(value + 1) + concentration * log_done + value * log_more


def draw(concentration: Tensor, mean: Tensor, shape: torch.Size) -> Tensor:
    """Counts with Gamma distributed rates."""
    share = standard_gamma(concentration.expand(shape).contiguous()) / concentration
    return torch.poisson(share * mean)
