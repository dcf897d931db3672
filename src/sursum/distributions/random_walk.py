"""`GaussianRandomWalk`, `AR`: series of numbers, each of which depends on those before it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.family import Family, normal
from sursum.errors import OptionError


class GaussianRandomWalk(Family):
    r"""A series with normal steps: :math:`x_t \sim N(x_{t-1} + d, \sigma^2)`, from :math:`x_0 = 0`.

    Args:
        scale: σ > 0, of all steps.
        num_steps: how many numbers the series has.
        drift: d; the first number has it too.

    Example:
        >>> GaussianRandomWalk(1.0, 2).log_prob(torch.tensor([1.0, 1.0]))
        tensor(-2.3379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive, "drift": constraints.real}
    support = constraints.real_vector
    has_rsample = True
    scale: Tensor
    drift: Tensor

    def __init__(
        self,
        scale: Tensor | float = 1.0,
        num_steps: int = 1,
        drift: Tensor | float = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        if num_steps < 1:
            raise OptionError(f"`GaussianRandomWalk` takes at least 1 step, but got {num_steps}.")
        self._keep((int(num_steps),), validate_args, scale=scale, drift=drift)

    def _times(self) -> Tensor:
        return torch.arange(1, self.event_shape[0] + 1, dtype=self.scale.dtype, device=self.scale.device)

    @property
    def mean(self) -> Tensor:
        return self.drift.unsqueeze(-1) * self._times()

    @property
    def variance(self) -> Tensor:
        return self.scale.square().unsqueeze(-1) * self._times()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        steps = normal(self.scale, self._extended_shape(torch.Size(sample_shape)))
        return (self.drift.unsqueeze(-1) + self.scale.unsqueeze(-1) * steps).cumsum(-1)

    def _log_density(self, value: Tensor) -> Tensor:
        steps = torch.diff(value, dim=-1, prepend=torch.zeros_like(value[..., :1])) - self.drift.unsqueeze(-1)
        size = (steps / self.scale.unsqueeze(-1)).square().sum(-1)
        return -size / 2 - self.event_shape[0] * (torch.log(self.scale) + 0.5 * math.log(2 * math.pi))


class AR(Family):
    r"""An autoregressive series of order p: :math:`x_t \sim N(c + \sum_{k=1}^p \varphi_k x_{t-k}, \sigma^2)`.

    Args:
        coefficients: φ, shape (…, p), that of the last number first.
        scale: σ > 0.
        num_steps: how many numbers the series has, at least p.
        init_dist: the distribution of each of the first p numbers; by default N(0, σ²).
        constant: c.

    Example:
        >>> AR(torch.tensor([0.5]), 1.0, 2).log_prob(torch.tensor([1.0, 0.5]))
        tensor(-2.3379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "coefficients": constraints.real_vector,
        "scale": constraints.positive,
        "constant": constraints.real,
    }
    support = constraints.real_vector
    has_rsample = True
    coefficients: Tensor
    scale: Tensor
    constant: Tensor
    init_dist: Any

    def __init__(
        self,
        coefficients: Tensor,
        scale: Tensor | float,
        num_steps: int,
        init_dist: Distribution | None = None,
        constant: Tensor | float = 0.0,
        validate_args: bool | None = None,
    ) -> None:
        self.order = coefficients.shape[-1]
        if num_steps < max(self.order, 1):
            raise OptionError(f"`AR` of order {self.order} takes at least as many steps, but got {num_steps}.")
        self._keep(
            (int(num_steps),),
            validate_args,
            coefficients=coefficients,
            scale=scale,
            constant=constant,
            init_dist=init_dist,
        )

    def _first(self) -> Any:
        """The distribution of each of the first numbers."""
        found = vars(self).get("init_dist")
        return (
            torch.distributions.Normal(torch.zeros_like(self.scale), self.scale, validate_args=False)
            if found is None
            else found
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        series = [torch.as_tensor(self._first().rsample(shape)) for _ in range(self.order)]
        noise = self.scale.unsqueeze(-1) * normal(self.scale, self._extended_shape(shape))
        for t in range(self.order, self.event_shape[0]):
            mean = self.constant
            for lag in range(self.order):
                mean = mean + self.coefficients[..., lag] * series[t - 1 - lag]
            series.append(mean + noise[..., t])
        return torch.stack(series, -1)

    def _log_density(self, value: Tensor) -> Tensor:
        p, steps = self.order, self.event_shape[0]
        first = sum(torch.as_tensor(self._first().log_prob(value[..., k])) for k in range(p))
        mean = self.constant.unsqueeze(-1)
        for lag in range(p):
            mean = mean + self.coefficients[..., lag : lag + 1] * value[..., p - 1 - lag : steps - 1 - lag]
        away = ((value[..., p:] - mean) / self.scale.unsqueeze(-1)).square().sum(-1)
        return first - away / 2 - (steps - p) * (torch.log(self.scale) + 0.5 * math.log(2 * math.pi))
