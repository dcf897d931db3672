"""`GARCH11`: returns whose variance depends on the last return and the last variance."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.associative import Elements, scan_all
from sursum.distributions.family import Family, normal
from sursum.errors import OptionError


class GARCH11(Family):
    r"""A series with volatility that comes in clusters, :math:`x_t \sim N(\mu, \sigma_t^2)` with

    .. math:: \sigma_t^2 = \omega + \alpha (x_{t - 1} - \mu)^2 + \beta \sigma_{t - 1}^2

    The variances of all times are computed in a number of steps that grows with the logarithm of the length.

    Args:
        omega: ω > 0.
        alpha: α ≥ 0.
        beta: β ≥ 0; the series is stationary for α + β < 1.
        initial_vol: σ₁ > 0.
        num_steps: how many numbers the series has.
        loc: μ.

    References:
        Bollerslev (1986), Generalized autoregressive conditional heteroskedasticity.

    Example:
        >>> GARCH11(0.75, 0.25, 0.0, 1.0, 2).log_prob(torch.tensor([1.0, 1.0]))
        tensor(-2.8379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "omega": constraints.positive,
        "alpha": constraints.nonnegative,
        "beta": constraints.nonnegative,
        "initial_vol": constraints.positive,
        "loc": constraints.real,
    }
    support = constraints.real_vector
    has_rsample = True
    omega: Tensor
    alpha: Tensor
    beta: Tensor
    initial_vol: Tensor
    loc: Tensor

    def __init__(
        self,
        omega: Tensor | float,
        alpha: Tensor | float,
        beta: Tensor | float,
        initial_vol: Tensor | float,
        num_steps: int,
        loc: Tensor | float = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        if num_steps < 1:
            raise OptionError(f"`GARCH11` takes at least 1 step, but got {num_steps}.")
        self._keep((int(num_steps),), validate_args, omega=omega, alpha=alpha, beta=beta, initial_vol=initial_vol, loc=loc)

    @property
    def mean(self) -> Tensor:
        return self.loc.unsqueeze(-1).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        found = [self.initial_vol.square()]
        for _ in range(1, self.event_shape[0]):
            found.append(self.omega + (self.alpha + self.beta) * found[-1])
        return torch.stack(found, -1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = normal(self.omega, self._extended_shape(torch.Size(sample_shape)))
        variance, series = self.initial_vol.square(), []
        for t in range(self.event_shape[0]):
            series.append(torch.sqrt(variance) * noise[..., t])
            variance = self.omega + self.alpha * series[-1].square() + self.beta * variance
        return self.loc.unsqueeze(-1) + torch.stack(series, -1)

    def variances(self, value: Tensor) -> Tensor:
        """σ² at each time, given the series."""
        square = (value - self.loc.unsqueeze(-1)).square()
        add = self.omega.unsqueeze(-1) + self.alpha.unsqueeze(-1) * square[..., :-1]
        first = self.initial_vol.square().expand(square.shape[:-1])
        addends = torch.cat([first.unsqueeze(-1), add], -1).movedim(-1, 0)
        _, found = scan_all(_after, (self.beta.expand(addends.shape), addends))
        return found.movedim(0, -1)

    def _log_density(self, value: Tensor) -> Tensor:
        variance = self.variances(value)
        away = (value - self.loc.unsqueeze(-1)).square() / variance
        return -0.5 * (away + torch.log(variance)).sum(-1) - 0.5 * self.event_shape[0] * math.log(2 * math.pi)


def _after(first: Elements, second: Elements) -> Elements:
    """Two steps v ↦ b v + a as one."""
    return second[0] * first[0], second[0] * first[1] + second[1]
