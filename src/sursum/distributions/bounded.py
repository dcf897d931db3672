"""`LogUniform`, `Triangular`, `BetaProportion`, `AffineBeta`, `LogitNormal`: simple densities on an interval."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.special.functions import log_normal_cdf
from sursum.common.torch_private import is_all_true
from sursum.distributions.family import Family, inside, normal, uniform
from sursum.distributions.standard import Beta
from sursum.distributions.tails import Tails, log_tails


class LogUniform(Family):
    r"""A number whose logarithm is uniform: :math:`p(x) = 1 / (x \log(b / a))`, a ≤ x ≤ b.

    Args:
        low: a > 0.
        high: b > a.

    Example:
        >>> LogUniform(1.0, 10.0).log_prob(torch.tensor(2.0))
        tensor(-1.5272)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"low": constraints.positive, "high": constraints.positive}
    has_rsample = True
    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor | float, high: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, low=low, high=high)
        if self._validate_args and not is_all_true(self.low < self.high):
            raise ValueError("LogUniform is not defined when low >= high")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high - self.low) / self._width

    @property
    def variance(self) -> Tensor:
        return (self.high.square() - self.low.square()) / (2 * self._width) - self.mean.square()

    @property
    def _width(self) -> Tensor:
        return torch.log(self.high / self.low)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.low, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        return self.low * torch.exp(value * self._width)

    def _log_density(self, value: Tensor) -> Tensor:
        return inside(value, self.low, self.high, -torch.log(value) - torch.log(self._width))

    def _log_tails(self, value: Tensor) -> Tails:
        width = self._width
        return torch.log(torch.log(value / self.low) / width), torch.log(torch.log(self.high / value) / width)


class Triangular(Family):
    r"""A triangle over [a, b] with its peak at c:

    .. math:: p(x) = \frac{2}{b - a} \frac{x - a}{c - a}, \quad x \le c, \qquad
        p(x) = \frac{2}{b - a} \frac{b - x}{b - c}, \quad x > c

    Args:
        low: a.
        high: b > a.
        peak: c, from a to b.

    Example:
        >>> Triangular(0.0, 2.0, 1.0).log_prob(torch.tensor(0.5))
        tensor(-0.6931)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "low": constraints.real,
        "high": constraints.real,
        "peak": constraints.real,
    }
    has_rsample = True
    low: Tensor
    high: Tensor
    peak: Tensor

    def __init__(
        self,
        low: Tensor | float = 0.0,
        high: Tensor | float = 1.0,
        peak: Tensor | float = 0.5,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, low=low, high=high, peak=peak)
        right = (self.low < self.high) & (self.low <= self.peak) & (self.peak <= self.high)
        if self._validate_args and not is_all_true(right):
            raise ValueError("Triangular is defined for low <= peak <= high and low < high only")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high + self.peak) / 3

    @property
    def variance(self) -> Tensor:
        a, b, c = self.low, self.high, self.peak
        return ((b - a).square() + (c - a) * (c - b)) / 18

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.low, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        width, rise, fall = self.high - self.low, self.peak - self.low, self.high - self.peak
        left = value * width <= rise
        up = self.low + torch.sqrt(torch.where(left, value * width * rise, 1.0))
        down = self.high - torch.sqrt(torch.where(left, 1.0, (1 - value) * width * fall))
        return torch.where(left, up, down)

    def _log_density(self, value: Tensor) -> Tensor:
        left = value < self.peak
        height = torch.where(left, value - self.low, self.high - value)
        side = torch.where(left, self.peak - self.low, self.high - self.peak)
        top = value == self.peak
        share = torch.where(top, 1.0, height) / torch.where(top, 1.0, side)
        within = inside(value, self.low, self.high, torch.log(torch.clamp(share, min=0.0)))
        return within + torch.log(2 / (self.high - self.low))

    def _log_tails(self, value: Tensor) -> Tails:
        width, left = self.high - self.low, value < self.peak
        side = torch.where(left, self.peak - self.low, self.high - self.peak)
        near = torch.where(left, value - self.low, self.high - value)
        share = near.square() / (width * torch.where(side == 0, 1.0, side))
        small, large = torch.log(share), torch.log1p(-share)
        return torch.where(left, small, large), torch.where(left, large, small)


class BetaProportion(Family):
    r"""A Beta distribution by its mean m: :math:`\mathrm{Beta}(m k, (1 - m) k)`.

    Args:
        mean: m in (0, 1).
        concentration: k > 0; the variance is m (1 − m)/(1 + k).

    Example:
        >>> BetaProportion(0.5, 4.0).log_prob(torch.tensor(0.5)).exp()
        tensor(1.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"mu": constraints.unit_interval, "concentration": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    mu: Tensor
    concentration: Tensor

    def __init__(self, mean: Tensor | float, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, mu=mean, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        return self.mu

    @property
    def variance(self) -> Tensor:
        return self.mu * (1 - self.mu) / (1 + self.concentration)

    def _beta(self) -> Beta:
        return Beta(self.mu * self.concentration, (1 - self.mu) * self.concentration, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._beta().rsample(sample_shape)

    def _log_density(self, value: Tensor) -> Tensor:
        return self._beta().log_prob(value)

    def _log_tails(self, value: Tensor) -> Tails:
        return log_tails(self._beta(), value)

    def _radius(self, value: Tensor) -> Tensor:
        return torch.minimum(value, 1 - value)


class AffineBeta(Family):
    r"""A Beta distribution that is stretched and moved: :math:`(x - l) / s \sim \mathrm{Beta}(a, b)`.

    Args:
        concentration1: a > 0.
        concentration0: b > 0.
        loc: l, the lower end.
        scale: s > 0, the width.

    Example:
        >>> AffineBeta(2.0, 2.0, -1.0, 2.0).log_prob(torch.tensor(0.0)).exp()
        tensor(0.7500)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    has_rsample = True
    concentration1: Tensor
    concentration0: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        concentration1: Tensor | float,
        concentration0: Tensor | float,
        loc: Tensor | float,
        scale: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, concentration1=concentration1, concentration0=concentration0, loc=loc, scale=scale)

    @property
    def low(self) -> Tensor:
        return self.loc

    @property
    def high(self) -> Tensor:
        return self.loc + self.scale

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    def _beta(self) -> Beta:
        return Beta(self.concentration1, self.concentration0, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * torch.as_tensor(self._beta().mean)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * torch.as_tensor(self._beta().variance)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * self._beta().rsample(sample_shape)

    def _log_density(self, value: Tensor) -> Tensor:
        share = ((value - self.loc) / self.scale).clamp(0.0, 1.0)  # of the ends too, which are rounded
        return inside(value, self.low, self.high, self._beta().log_prob(share) - torch.log(self.scale))

    def _log_tails(self, value: Tensor) -> Tails:
        return log_tails(self._beta(), (value - self.loc) / self.scale)

    def _radius(self, value: Tensor) -> Tensor:
        return torch.minimum(value - self.low, self.high - value)


class LogitNormal(Family):
    r"""A number in (0, 1) whose logit is normal: :math:`\log \frac{x}{1 - x} \sim N(\mu, \sigma^2)`.

    Args:
        loc: μ.
        scale: σ > 0.

    Example:
        >>> LogitNormal(0.0, 1.0).log_prob(torch.tensor(0.5))
        tensor(0.4674)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, loc=loc, scale=scale)

    def _standard(self, value: Tensor) -> Tensor:
        return (torch.log(value) - torch.log1p(-value) - self.loc) / self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = torch.sigmoid(self.loc + self.scale * normal(self.loc, self._extended_shape(torch.Size(sample_shape))))
        limits = torch.finfo(drawn.dtype)
        return drawn.clamp(limits.tiny, 1 - limits.eps / 2)  # the ends have no density

    def icdf(self, value: Tensor) -> Tensor:
        return torch.sigmoid(self.loc + self.scale * torch.special.ndtri(value))

    def _log_density(self, value: Tensor) -> Tensor:
        within = (value > 0) & (value < 1)
        x = torch.where(within, value, 0.5)
        change = torch.log(x) + torch.log1p(-x)
        term = -self._standard(x).square() / 2 - torch.log(self.scale) - 0.5 * math.log(2 * math.pi) - change
        return torch.where(within, term, -torch.inf)

    def _log_tails(self, value: Tensor) -> Tails:
        z = self._standard(value)
        return log_normal_cdf(z), log_normal_cdf(-z)

    def _radius(self, value: Tensor) -> Tensor:
        return torch.minimum(value, 1 - value)
