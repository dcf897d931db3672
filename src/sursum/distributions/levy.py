"""`Levy` and `Moyal`: one over the square of a normal number, and minus its logarithm."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_normal_cdf
from sursum.distributions.family import Family, normal
from sursum.distributions.tails import Tails, finite_exp

_EULER = 0.57721566490153286


class _OfSquare(Family):
    """With the tails of a decreasing function of the size of a standard normal number."""

    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, loc=loc, scale=scale)

    def _log_size(self, value: Tensor) -> Tensor:
        """The logarithm of the size of the normal number for which the value is had."""
        raise NotImplementedError

    def _log_tails(self, value: Tensor) -> Tails:
        log_size = self._log_size(value)
        size = finite_exp(log_size, 2)
        small = log_size < -20.0  # where the error function is linear
        linear, error = log_size + 0.5 * math.log(2 / math.pi), torch.erf(torch.where(small, 1.0, size) * math.sqrt(0.5))
        return math.log(2.0) + log_normal_cdf(-size), torch.where(small, linear, torch.log(error))


class Levy(_OfSquare):
    r"""The Lévy distribution, the stable one with stability 1/2 and skew 1:

    .. math:: p(x) = \sqrt{\frac{c}{2 \pi}}\, \frac{e^{-c / 2 (x - \mu)}}{(x - \mu)^{3/2}}, \quad x > \mu

    Its mean is infinite.

    Args:
        loc: μ.
        scale: c > 0.

    Example:
        >>> Levy(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-1.4189)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than(self.loc)

    @property
    def mean(self) -> Tensor:
        return torch.full_like(self.loc, torch.inf)

    @property
    def variance(self) -> Tensor:
        return torch.full_like(self.loc, torch.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale / normal(self.loc, self._extended_shape(torch.Size(sample_shape))).square()

    def icdf(self, value: Tensor) -> Tensor:
        size: Tensor = torch.special.ndtri(value / 2)
        return self.loc + self.scale / size.square()

    def _log_density(self, value: Tensor) -> Tensor:
        away = value - self.loc
        return 0.5 * torch.log(self.scale / (2 * math.pi)) - self.scale / (2 * away) - 1.5 * torch.log(away)

    def _log_size(self, value: Tensor) -> Tensor:
        return (torch.log(self.scale) - torch.log(value - self.loc)) / 2


class Moyal(_OfSquare):
    r"""The Moyal distribution, of the energy that charged particles lose:

    .. math:: p(x) = \frac{1}{\sigma \sqrt{2 \pi}} \exp\left(-\tfrac{1}{2} (z + e^{-z})\right), \quad z = (x - \mu) / \sigma

    Args:
        loc: μ, the mode.
        scale: σ > 0.

    References:
        Moyal (1955), Theory of ionization fluctuations.

    Example:
        >>> Moyal(0.0, 1.0).log_prob(torch.tensor(0.0))
        tensor(-1.4189)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * (_EULER + math.log(2.0))

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (math.pi**2 / 2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc - self.scale * torch.log(normal(self.loc, self._extended_shape(torch.Size(sample_shape))).square())

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - 2 * self.scale * torch.log(-torch.special.ndtri(value / 2))

    def _log_density(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return -(z + torch.exp(-z)) / 2 - torch.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def _log_size(self, value: Tensor) -> Tensor:
        return -(value - self.loc) / (2 * self.scale)
