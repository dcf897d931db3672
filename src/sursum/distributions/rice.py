"""`Rayleigh` and `Rice`: the length of a normal vector in the plane, around the origin or around another point."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family, normal, uniform
from sursum.distributions.log_bessel import log_i0e
from sursum.distributions.tails import Tails, log_one_minus_exp


class Rayleigh(Family):
    r"""The length of a vector of two numbers from N(0, σ²): :math:`p(x) = \frac{x}{\sigma^2} e^{-x^2 / 2 \sigma^2}`, x > 0.

    Args:
        scale: σ > 0.

    Example:
        >>> Rayleigh(1.0).log_prob(torch.tensor(1.0))
        tensor(-0.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive}
    support = constraints.positive
    has_rsample = True
    scale: Tensor

    def __init__(self, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, scale=scale)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(math.pi / 2)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (2 - math.pi / 2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self.scale, self._extended_shape(torch.Size(sample_shape))))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * torch.sqrt(-2 * torch.log1p(-value))

    def _log_density(self, value: Tensor) -> Tensor:
        return torch.log(value) - 2 * torch.log(self.scale) - (value / self.scale).square() / 2

    def _log_tails(self, value: Tensor) -> Tails:
        above = -(value / self.scale).square() / 2
        return log_one_minus_exp(above), above

    def _radius(self, value: Tensor) -> Tensor:
        return value


class Rice(Family):
    r"""The distance from the origin of a point whose two coordinates are normal around a point at the distance ν:

    .. math:: p(x) = \frac{x}{\sigma^2} \exp\left(-\frac{x^2 + \nu^2}{2 \sigma^2}\right) I_0\left(\frac{x \nu}{\sigma^2}\right),
        \quad x > 0

    Args:
        loc: ν ≥ 0; 0 gives the Rayleigh distribution.
        scale: σ > 0, of each coordinate.

    References:
        Rice (1945), Mathematical analysis of random noise.

    Example:
        >>> Rice(0.0, 1.0).log_prob(torch.tensor(1.0))
        tensor(-0.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.nonnegative, "scale": constraints.positive}
    support = constraints.positive
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor | float, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, loc=loc, scale=scale)

    @property
    def mean(self) -> Tensor:
        y = (self.loc / self.scale).square() / 4
        bessel = (1 + 2 * y) * torch.special.i0e(y) + 2 * y * torch.special.i1e(y)
        found: Tensor = self.scale * math.sqrt(math.pi / 2) * bessel
        return found

    @property
    def variance(self) -> Tensor:
        # In double precision, and far out by the expansion in σ/ν, as the two squares cancel.
        z = (self.loc / self.scale).double()
        far = z > 100.0
        near, over = torch.where(far, 0.0, z), torch.where(far, z, 100.0).square().reciprocal()
        y = near.square() / 4
        mean = (1 + 2 * y) * torch.special.i0e(y) + 2 * y * torch.special.i1e(y)
        closed = 2 + near.square() - math.pi / 2 * mean.square()
        return self.scale.square() * torch.where(far, 1 - over / 2 * (1 + over), closed).to(self.scale)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        length: Tensor = torch.hypot(self.loc + self.scale * normal(self.loc, shape), self.scale * normal(self.loc, shape))
        return length

    def _log_density(self, value: Tensor) -> Tensor:
        z, nu = value / self.scale, self.loc / self.scale
        # I₀ with its exponential taken out, which completes the square.
        return torch.log(z) - torch.log(self.scale) - (z - nu).square() / 2 + log_i0e(z * nu)
