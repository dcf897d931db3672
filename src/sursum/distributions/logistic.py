"""`Logistic` and `SkewLogistic`, `SoftLaplace`: smooth densities with exponential tails."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.family import Family, uniform
from sursum.distributions.tails import Tails, log_one_minus_exp, log_one_minus_exp_exp, logistic_tails


class _LocScale(Family):
    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.loc, self._extended_shape(torch.Size(sample_shape))))

    def _radius(self, value: Tensor) -> Tensor:
        return self.scale


class Logistic(_LocScale):
    r"""The logistic distribution, :math:`P(X \le x) = \sigma(z)`, z = (x − μ)/s.

    .. math:: \log p(x) = \log \sigma(z) + \log \sigma(-z) - \log s

    Args:
        loc: μ.
        scale: s > 0.

    Example:
        >>> Logistic(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-1.6265)
    """

    @property
    def variance(self) -> Tensor:
        return (self.scale * math.pi).square() / 3

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * (torch.log(value) - torch.log1p(-value))

    def _log_density(self, value: Tensor) -> Tensor:
        below, above = self._log_tails(value)
        return below + above - self.scale.log()

    def _log_tails(self, value: Tensor) -> Tails:
        return logistic_tails((value - self.loc) / self.scale)


class SkewLogistic(Family):
    r"""The skew (type I generalised) logistic distribution, :math:`P(X \le x) = \sigma(z)^a`, z = (x − μ)/s.

    .. math:: \log p(x) = \log a + a \log \sigma(z) + \log \sigma(-z) - \log s

    Args:
        loc: μ.
        scale: s > 0.
        asymmetry: a > 0; below 1 it is skewed to the left, above to the right.

    References:
        Johnson, Kotz, Balakrishnan, Continuous Univariate Distributions 2, section 23.10.

    Example:
        >>> SkewLogistic(0.0, 1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-1.2466)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "asymmetry": constraints.positive,
    }
    support = constraints.real
    has_rsample = True
    loc: Tensor
    scale: Tensor
    asymmetry: Tensor

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        asymmetry: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, asymmetry=asymmetry)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * (torch.digamma(self.asymmetry) - torch.digamma(torch.ones_like(self.asymmetry)))

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (torch.polygamma(1, self.asymmetry) + math.pi**2 / 6)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.loc, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        below = torch.log(value) / self.asymmetry
        return self.loc + self.scale * (below - log_one_minus_exp(below))

    def _log_density(self, value: Tensor) -> Tensor:
        z, a = (value - self.loc) / self.scale, self.asymmetry
        return a.log() + a * logsigmoid(z) + logsigmoid(-z) - self.scale.log()

    def _log_tails(self, value: Tensor) -> Tails:
        z = (value - self.loc) / self.scale
        below = self.asymmetry * logsigmoid(z)
        # Far up the logarithm of the lower tail underflows: its size is a e^(−z).
        far = z > 40.0
        size = torch.where(far, -z, torch.log(-logsigmoid(torch.where(far, 0.0, z))))
        return below, log_one_minus_exp_exp(self.asymmetry.log() + size)

    def _radius(self, value: Tensor) -> Tensor:
        return self.scale


class SoftLaplace(_LocScale):
    r"""A smooth Laplace distribution (hyperbolic secant): log-concave, with exponential tails.

    .. math:: p(x) = \frac{2}{\pi s} \frac{1}{e^z + e^{-z}}, \qquad z = (x - \mu) / s

    Args:
        loc: μ.
        scale: s > 0, the scale of the tails.

    Example:
        >>> SoftLaplace(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-1.5785)
    """

    @property
    def variance(self) -> Tensor:
        return (self.scale * math.pi / 2).square()

    def icdf(self, value: Tensor) -> Tensor:
        right = value > 0.5  # from the nearer end: the tangent is not infinite at the upper one
        away = torch.log(torch.tan(torch.where(right, 1 - value, value) * (math.pi / 2)))
        return self.loc + self.scale * torch.where(right, -away, away)

    def _log_density(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return math.log(2 / math.pi) - self.scale.log() - torch.logaddexp(z, -z)

    def _log_tails(self, value: Tensor) -> Tails:
        z = (value - self.loc) / self.scale
        away = torch.where(z < 0, z, -z)  # |z| has no slope at 0
        far = away < -40.0  # where the angle underflows, or is its tangent
        angle = torch.where(far, away, torch.log(torch.atan(torch.exp(torch.where(far, -1.0, away)))))
        small = math.log(2 / math.pi) + angle
        large = torch.log1p(-small.exp())
        return torch.where(z < 0, small, large), torch.where(z < 0, large, small)
