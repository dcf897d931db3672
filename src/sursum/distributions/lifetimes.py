"""`Frechet`, `Gompertz`, `LogLogistic`, `Dagum`: positive numbers such as lifetimes, maxima and incomes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.family import Family, uniform
from sursum.distributions.tails import Tails, finite_exp, log_one_minus_exp, log_one_minus_exp_exp, logistic_tails


class _Lifetime(Family):
    """A positive number that is drawn by its quantile function."""

    support = constraints.positive
    has_rsample = True
    scale: Tensor
    concentration: Tensor

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.concentration, self._extended_shape(torch.Size(sample_shape))))


class _HeavyTailed(_Lifetime):
    """One of which moments up to some order are finite."""

    def _raw(self, order: int) -> Tensor:
        """The expectation of that power, or infinity; in double precision, as a variance is a difference of two."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        return self._raw(1).to(self.scale)

    @property
    def variance(self) -> Tensor:
        first, second = self._raw(1), self._raw(2)
        finite = torch.isfinite(second)
        return torch.where(finite, second - torch.where(finite, first, 0.0) ** 2, torch.inf).to(self.scale)


def _moment(shape: Tensor, order: int, value: Any) -> Tensor:
    """`value` of the shapes above `order`, of which the moment is finite."""
    finite = shape > order
    found: Tensor = torch.where(finite, value(torch.where(finite, shape, order + 1.0)), torch.inf)
    return found


class Frechet(_HeavyTailed):
    r"""The Fréchet, or inverse Weibull, distribution, of large maxima:

    .. math:: P(X \le x) = \exp\left(-(x / s)^{-\alpha}\right), \qquad
        p(x) = \frac{\alpha}{s} (x / s)^{-1 - \alpha} \exp\left(-(x / s)^{-\alpha}\right), \quad x > 0

    Args:
        scale: s > 0.
        concentration: α > 0; moments below α are finite.

    Example:
        >>> Frechet(1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-0.3069)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive, "concentration": constraints.positive}

    def __init__(self, scale: Tensor | float, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, scale=scale, concentration=concentration)

    def _raw(self, order: int) -> Tensor:
        return self.scale.double() ** order * _moment(
            self.concentration.double(), order, lambda a: torch.exp(torch.lgamma(1 - order / a))
        )

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * torch.exp(-torch.log(-torch.log(value)) / self.concentration)

    def _log_density(self, value: Tensor) -> Tensor:
        size = torch.log(value) - torch.log(self.scale)
        a = self.concentration
        return torch.log(a) - torch.log(self.scale) - (1 + a) * size - finite_exp(-a * size)

    def _log_tails(self, value: Tensor) -> Tails:
        rate = -self.concentration * (torch.log(value) - torch.log(self.scale))
        return -finite_exp(rate), log_one_minus_exp_exp(rate)

    def _radius(self, value: Tensor) -> Tensor:
        return value


class Gompertz(_Lifetime):
    r"""Lifetimes whose hazard grows exponentially with age:

    .. math:: P(X > x) = \exp\left(-c\, (e^{b x} - 1)\right), \qquad p(x) = c\, b\, e^{b x} P(X > x), \quad x > 0

    Args:
        concentration: c > 0.
        rate: b > 0.

    Example:
        >>> Gompertz(1.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-0.7183)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive, "rate": constraints.positive}
    rate: Tensor

    def __init__(self, concentration: Tensor | float, rate: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, concentration=concentration, rate=rate)

    def icdf(self, value: Tensor) -> Tensor:
        return torch.log1p(-torch.log1p(-value) / self.concentration) / self.rate

    def _log_density(self, value: Tensor) -> Tensor:
        age = self.rate * value
        return torch.log(self.concentration) + torch.log(self.rate) + age - self.concentration * torch.expm1(age)

    def _log_tails(self, value: Tensor) -> Tails:
        age = self.rate * value
        old = age > 40.0  # where nothing is left of the one
        hazard = torch.where(old, finite_exp(age), torch.expm1(torch.where(old, 1.0, age)))
        above = -self.concentration * hazard
        return log_one_minus_exp(above), above

    def _radius(self, value: Tensor) -> Tensor:
        return 1 / self.rate


class LogLogistic(_HeavyTailed):
    r"""A number whose logarithm is logistic:

    .. math:: P(X \le x) = \frac{1}{1 + (x / s)^{-\beta}}, \quad x > 0

    Args:
        scale: s > 0, the median.
        concentration: β > 0; moments below β are finite.

    Example:
        >>> LogLogistic(1.0, 2.0).log_prob(torch.tensor(1.0))
        tensor(-0.6931)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive, "concentration": constraints.positive}

    def __init__(self, scale: Tensor | float, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, scale=scale, concentration=concentration)

    def _raw(self, order: int) -> Tensor:
        def value(shape: Tensor) -> Tensor:
            angle = order * math.pi / shape
            return angle / torch.sin(angle)

        return self.scale.double() ** order * _moment(self.concentration.double(), order, value)

    def _log_odds(self, value: Tensor) -> Tensor:
        return self.concentration * (torch.log(value) - torch.log(self.scale))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * torch.exp((torch.log(value) - torch.log1p(-value)) / self.concentration)

    def _log_density(self, value: Tensor) -> Tensor:
        below, above = self._log_tails(value)
        return torch.log(self.concentration) - torch.log(value) + below + above

    def _log_tails(self, value: Tensor) -> Tails:
        return logistic_tails(self._log_odds(value))

    def _radius(self, value: Tensor) -> Tensor:
        return value * torch.sin(math.pi / self.concentration.clamp_min(2.0))


class Dagum(_HeavyTailed):
    r"""The Dagum distribution, of incomes:

    .. math:: P(X \le x) = \left(1 + (x / s)^{-a}\right)^{-p}, \quad x > 0

    Args:
        concentration: p > 0; 1 gives the log-logistic distribution.
        sharpness: a > 0; moments below a are finite.
        scale: s > 0.

    References:
        Dagum (1977), A new model of personal income distribution.

    Example:
        >>> Dagum(1.0, 2.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-0.6931)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration": constraints.positive,
        "sharpness": constraints.positive,
        "scale": constraints.positive,
    }
    sharpness: Tensor

    def __init__(
        self,
        concentration: Tensor | float,
        sharpness: Tensor | float,
        scale: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, concentration=concentration, sharpness=sharpness, scale=scale)

    def _raw(self, order: int) -> Tensor:
        p = self.concentration.double()

        def value(shape: Tensor) -> Tensor:
            part = order / shape
            return torch.exp(torch.lgamma(p + part) + torch.lgamma(1 - part) - torch.lgamma(p))

        return self.scale.double() ** order * _moment(self.sharpness.double(), order, value)

    def _log_odds(self, value: Tensor) -> Tensor:
        return self.sharpness * (torch.log(value) - torch.log(self.scale))

    def icdf(self, value: Tensor) -> Tensor:
        log_below = torch.log(value) / self.concentration
        return self.scale * torch.exp((log_below - log_one_minus_exp(log_below)) / self.sharpness)

    def _log_density(self, value: Tensor) -> Tensor:
        odds, p = self._log_odds(value), self.concentration
        return torch.log(p) + torch.log(self.sharpness) - torch.log(value) + p * logsigmoid(odds) + logsigmoid(-odds)

    def _log_tails(self, value: Tensor) -> Tails:
        below = self.concentration * logsigmoid(self._log_odds(value))
        return below, log_one_minus_exp(below)
