"""`AsymmetricLaplace`, by its asymmetry or by its quantile (quantile regression), and a smooth one."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family, normal, uniform
from sursum.distributions.tails import Tails, log_one_minus_exp, log_tilted


class _TwoSided(Family):
    """Exponential on either side of `loc`, of the scales `_sides`."""

    support = constraints.real
    has_rsample = True
    loc: Tensor
    scale: Tensor

    @property
    def _sides(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        left, right = self._sides
        return self.loc + right - left

    @property
    def variance(self) -> Tensor:
        left, right = self._sides
        return left.square() + right.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        left, right = self._sides
        down, up = (-torch.log(uniform(self.loc, shape)) for _ in range(2))
        return self.loc + right * up - left * down


class _ByAsymmetry(_TwoSided):
    """With scales s κ and s/κ."""

    asymmetry: Tensor

    @property
    def _sides(self) -> tuple[Tensor, Tensor]:
        return self.scale * self.asymmetry, self.scale / self.asymmetry


class _Sharp(_TwoSided):
    """Exponential up to `loc` itself."""

    def _log_density(self, value: Tensor) -> Tensor:
        left, right = self._sides
        away = value - self.loc
        return -away.abs() / torch.where(away < 0, left, right) - torch.log(left + right)

    def _log_tails(self, value: Tensor) -> Tails:
        left, right = self._sides
        away = value - self.loc
        total = torch.log(left + right)
        near = torch.where(away < 0, torch.log(left), torch.log(right)) - total
        small = near - torch.where(away < 0, -away, away) / torch.where(away < 0, left, right)  # |x| has no slope at 0
        large = log_one_minus_exp(small)
        return torch.where(away < 0, small, large), torch.where(away < 0, large, small)


class AsymmetricLaplace(_ByAsymmetry, _Sharp):
    r"""Exponential with scale s κ to the left of μ, and s/κ to the right.

    .. math:: p(x) = \frac{1}{s (\kappa + 1/\kappa)} \exp\left(-\frac{|x - \mu|}{s \kappa^{\operatorname{sign}(\mu - x)}}\right)

    Args:
        loc: μ.
        scale: s > 0.
        asymmetry: κ > 0; below 1 it is skewed to the right.

    References:
        Kotz, Kozubowski, Podgórski (2001), The Laplace Distribution and Generalizations, chapter 3.

    Example:
        >>> AsymmetricLaplace(0.0, 1.0, 2.0).log_prob(torch.tensor([-1.0, 1.0]))
        tensor([-1.4163, -2.9163])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "asymmetry": constraints.positive,
    }

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        asymmetry: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, asymmetry=asymmetry)


class AsymmetricLaplaceQuantile(_Sharp):
    r"""An asymmetric Laplace with :math:`P(X \le \mu) = \tau`: the likelihood of quantile regression.

    .. math:: p(x) = \frac{\tau (1 - \tau)}{s} \exp\left(-\frac{x - \mu}{s} (\tau - [x < \mu])\right)

    Args:
        loc: μ, the quantile.
        scale: s > 0.
        quantile: τ in (0, 1), whose quantile μ is.

    References:
        Yu, Moyeed (2001), Bayesian quantile regression.

    Example:
        >>> AsymmetricLaplaceQuantile(0.0, 1.0, 0.9).log_prob(torch.tensor([-1.0, 1.0]))
        tensor([-2.5079, -3.3079])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "quantile": constraints.unit_interval,
    }
    quantile: Tensor

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        quantile: Tensor | float = 0.5,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, quantile=quantile)

    @property
    def _sides(self) -> tuple[Tensor, Tensor]:
        return self.scale / (1 - self.quantile), self.scale / self.quantile


class SoftAsymmetricLaplace(_ByAsymmetry):
    r"""An asymmetric Laplace with normal noise: smooth, with exponential tails.

    .. math:: X = \mu + s\,(\varsigma Z + E / \kappa - \kappa E'), \qquad Z \sim N(0, 1), \quad E, E' \sim \mathrm{Exp}(1)

    Args:
        loc: μ.
        scale: s > 0.
        asymmetry: κ > 0; below 1 it is skewed to the right.
        softness: ς > 0; towards 0 it becomes `AsymmetricLaplace`.

    Example:
        >>> SoftAsymmetricLaplace(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-1.5965)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "asymmetry": constraints.positive,
        "softness": constraints.positive,
    }
    softness: Tensor

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        asymmetry: Tensor | float = 1.0,
        softness: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, loc=loc, scale=scale, asymmetry=asymmetry, softness=softness)

    @property
    def variance(self) -> Tensor:
        return super().variance + (self.scale * self.softness).square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        sharp = super().rsample(sample_shape)
        return sharp + self.scale * self.softness * normal(self.loc, sharp.shape)

    def _log_density(self, value: Tensor) -> Tensor:
        left, right = self._sides
        noise = self.scale * self.softness
        away = (value - self.loc) / noise
        terms = log_tilted(-away, noise / left), log_tilted(away, noise / right)
        return torch.logaddexp(*terms) - torch.log(left + right)
