"""`LowerTruncatedPowerLaw`, `DoublyTruncatedPowerLaw`: densities that are a power of the number."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.torch_private import is_all_true
from sursum.distributions.family import Family, uniform
from sursum.distributions.tails import Tails, log_one_minus_exp


class LowerTruncatedPowerLaw(Family):
    r"""A power law from a bound on: :math:`p(x) \propto x^\alpha`, x ≥ a; a Pareto distribution by its exponent.

    Args:
        alpha: α < −1.
        low: a > 0.

    Example:
        >>> LowerTruncatedPowerLaw(-2.0, 1.0).log_prob(torch.tensor(2.0))
        tensor(-1.3863)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"alpha": constraints.less_than(-1.0), "low": constraints.positive}
    has_rsample = True
    alpha: Tensor
    low: Tensor

    def __init__(self, alpha: Tensor | float, low: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, alpha=alpha, low=low)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than_eq(self.low)

    @property
    def mean(self) -> Tensor:
        finite = self.alpha < -2
        return torch.where(finite, self.low * (self.alpha + 1) / torch.where(finite, self.alpha + 2, -1.0), torch.inf)

    @property
    def variance(self) -> Tensor:
        finite = self.alpha < -3
        a = torch.where(finite, -1 - self.alpha, 3.0)  # the exponent of a Pareto distribution
        return torch.where(finite, self.low.square() * a / ((a - 1).square() * (a - 2)), torch.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.low, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        return self.low * torch.exp(torch.log1p(-value) / (1 + self.alpha))

    def _log_density(self, value: Tensor) -> Tensor:
        term = torch.log(-1 - self.alpha) - torch.log(self.low) + self.alpha * torch.log(value / self.low)
        return torch.where(value >= self.low, term, -torch.inf)

    def _log_tails(self, value: Tensor) -> Tails:
        above = (1 + self.alpha) * torch.log(value / self.low)
        return log_one_minus_exp(above), above


class DoublyTruncatedPowerLaw(Family):
    r"""A power law between two bounds: :math:`p(x) \propto x^\alpha`, a ≤ x ≤ b.

    Every exponent is allowed, −1 (log-uniform) among them: the integral of the power has its digits near there too.

    Args:
        alpha: α.
        low: a > 0.
        high: b > a.

    Example:
        >>> DoublyTruncatedPowerLaw(-1.0, 1.0, 10.0).log_prob(torch.tensor(2.0))
        tensor(-1.5272)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "alpha": constraints.real,
        "low": constraints.positive,
        "high": constraints.positive,
    }
    has_rsample = True
    alpha: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, alpha: Tensor | float, low: Tensor | float, high: Tensor | float, validate_args: bool | None = None
    ) -> None:
        self._keep((), validate_args, alpha=alpha, low=low, high=high)
        if self._validate_args and not is_all_true(self.low < self.high):
            raise ValueError("DoublyTruncatedPowerLaw is not defined when low >= high")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    def _raw(self, order: int) -> Tensor:
        alpha, low, high = self.alpha.double(), self.low.double(), self.high.double()
        return torch.exp(_log_integral(alpha + order, low, high) - _log_integral(alpha, low, high))

    @property
    def mean(self) -> Tensor:
        return self._raw(1).to(self.low)

    @property
    def variance(self) -> Tensor:
        return (self._raw(2) - self._raw(1).square()).to(self.low)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.low, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        width = torch.log(self.high / self.low)
        v = (self.alpha + 1) * width
        # From the end that has the larger mass, so that the power does not overflow.
        share = torch.where(v > 0, 1 - value, value)
        small = v.abs() < 1e-5
        decay = -torch.where(small, 1.0, v.abs())
        part = torch.where(small, share * (1 - v.abs() * (1 - share) / 2), torch.log1p(share * torch.expm1(decay)) / decay)
        found = torch.where(v > 0, self.high * torch.exp(-part * width), self.low * torch.exp(part * width))
        return torch.minimum(torch.maximum(found, self.low), self.high)

    def _log_density(self, value: Tensor) -> Tensor:
        term = self.alpha * torch.log(value) - _log_integral(self.alpha, self.low, self.high)
        return torch.where((value >= self.low) & (value <= self.high), term, -torch.inf)

    def _log_tails(self, value: Tensor) -> Tails:
        whole = _log_integral(self.alpha, self.low, self.high)
        return _log_integral(self.alpha, self.low, value) - whole, _log_integral(self.alpha, value, self.high) - whole


def _log_integral(alpha: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r""":math:`\log \int_a^b x^\alpha dx`, also where α is −1 or next to it."""
    width = torch.log(high / low)
    v = (alpha + 1) * width
    small = v.abs() < 0.1
    near, far = torch.where(small, v, 0.0), torch.where(small, 1.0, v)
    square = near.square()
    series = near / 2 + square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
    size = far.abs()
    closed = torch.clamp(far, min=0.0) + torch.log(-torch.expm1(-size) / size)
    return (alpha + 1) * torch.log(low) + torch.log(width) + torch.where(small, series, closed)
