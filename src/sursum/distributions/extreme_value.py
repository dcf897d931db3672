"""`GeneralizedExtremeValue`: the limit of maxima, with Gumbel, Fréchet and reversed Weibull in one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.constraints import OpenedInterval
from sursum.distributions.family import Family, uniform
from sursum.distributions.tails import Tails, finite_exp, log_one_minus_exp_exp

_EULER, _ZETA3 = 0.57721566490153286, 1.2020569031595943


class GeneralizedExtremeValue(Family):
    r"""The distribution of the largest of many numbers:

    .. math:: P(X \le x) = \exp\left(-(1 + \xi z)^{-1/\xi}\right), \quad z = (x - \mu) / \sigma, \quad 1 + \xi z > 0

    ξ = 0 gives the Gumbel distribution, ξ > 0 a heavy tail from a lower bound on, ξ < 0 an upper bound. (SciPy's
    `genextreme` has c = −ξ.)

    Args:
        loc: μ.
        scale: σ > 0.
        concentration: ξ.

    References:
        Coles (2001), An introduction to statistical modeling of extreme values.

    Example:
        >>> GeneralizedExtremeValue(0.0, 1.0, 0.5).log_prob(torch.tensor(1.0))
        tensor(-1.6608)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    loc: Tensor
    scale: Tensor
    concentration: Tensor

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        concentration: Tensor | float = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, concentration=concentration)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        xi = self.concentration
        end = self.loc - self.scale / torch.where(xi == 0, 1.0, xi)
        return OpenedInterval(torch.where(xi > 0, end, -torch.inf), torch.where(xi < 0, end, torch.inf))

    @property
    def mean(self) -> Tensor:
        xi, finite = self.concentration.double(), self.concentration < 1  # a difference is divided by ξ
        small = xi.abs() < 1e-8
        safe = torch.where(small | ~finite, 0.5, xi)
        away = torch.where(small, _EULER, torch.expm1(torch.lgamma(1 - safe)) / safe)
        return torch.where(finite, self.loc + self.scale * away.to(self.loc), torch.inf)

    @property
    def variance(self) -> Tensor:
        xi, finite = self.concentration.double(), self.concentration < 0.5
        small = xi.abs() < 1e-4
        safe = torch.where(small | ~finite, 0.25, xi)
        once, twice = torch.lgamma(1 - safe), torch.lgamma(1 - 2 * safe)
        far = torch.exp(2 * once) * torch.expm1(twice - 2 * once) / safe.square()
        near = math.pi**2 / 6 + xi * (2 * _ZETA3 + _EULER * math.pi**2 / 3)
        return torch.where(finite, self.scale.square() * torch.where(small, near, far).to(self.scale), torch.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.loc, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        y = -torch.log(-torch.log(value))
        xi = self.concentration
        none = xi == 0
        w = torch.where(none, 0.0, xi * y)  # y is infinite at the ends
        small = w.abs() < 1e-5
        near = torch.where(small, w, 0.0)
        far = torch.expm1(torch.where(small, 1.0, w)) / torch.where(none, 1.0, xi)
        return self.loc + self.scale * torch.where(small, y * (1 + near / 2 * (1 + near / 3)), far)

    def _reduced(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """log(1 + ξ z)/ξ, which is standard Gumbel, and whether the value lies in the support."""
        z = (value - self.loc) / self.scale
        w = self.concentration * z
        within = w > -1
        small = within & (w.abs() < 0.01)
        near = torch.where(small, w, 0.0)
        far = torch.where(within & ~small, w, 1.0)
        series = torch.zeros_like(near)
        for k in range(9, 0, -1):  # log(1 + w)/w = 1 − w/2 + w²/3 − …
            series = 1 / k - near * series
        return z * torch.where(small, series, torch.log1p(far) / far), within

    def _log_density(self, value: Tensor) -> Tensor:
        t, within = self._reduced(value)
        return torch.where(within, -torch.log(self.scale) - (1 + self.concentration) * t - torch.exp(-t), -torch.inf)

    def _log_tails(self, value: Tensor) -> Tails:
        t, _ = self._reduced(value)
        return -finite_exp(-t), log_one_minus_exp_exp(-t)
