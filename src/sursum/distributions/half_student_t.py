"""`HalfStudentT`: the absolute value of a Student t, a usual prior of scales."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family
from sursum.distributions.standard import StudentT
from sursum.distributions.tails import Tails, log_mass, log_tails


class HalfStudentT(Family):
    r"""The absolute value of a Student t around 0: :math:`p(x) = 2\, t_\nu(x / s) / s`, x ≥ 0.

    Args:
        df: the degrees of freedom ν > 0; 1 gives `HalfCauchy`, infinitely many `HalfNormal`.
        scale: the scale s > 0.

    References:
        Gelman (2006), Prior distributions for variance parameters in hierarchical models.

    Example:
        >>> HalfStudentT(3.0, 2.5).log_prob(torch.tensor(1.0))
        tensor(-1.3280)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"df": constraints.positive, "scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    df: Tensor
    scale: Tensor

    def __init__(self, df: Tensor | float, scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, df=df, scale=scale)

    def _whole(self) -> StudentT:
        return StudentT(self.df, torch.zeros_like(self.scale), self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        df = torch.where(self.df > 1, self.df, 2.0)
        logs = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) + df.log() / 2 - torch.log(df - 1)
        return torch.where(self.df > 1, 2 * self.scale * torch.exp(logs) / math.sqrt(math.pi), torch.inf)

    @property
    def variance(self) -> Tensor:
        df = torch.where(self.df > 2, self.df, 3.0)
        return torch.where(self.df > 2, self.scale.square() * df / (df - 2) - self.mean.square(), torch.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._whole().rsample(torch.Size(sample_shape)).abs()

    def _log_density(self, value: Tensor) -> Tensor:
        log_prob: Tensor = self._whole().log_prob(value)
        return log_prob + math.log(2.0)

    def _log_tails(self, value: Tensor) -> Tails:
        whole = self._whole()
        return log_mass(whole, -value, value), log_tails(whole, value)[1] + math.log(2.0)

    def _radius(self, value: Tensor) -> Tensor:
        return torch.hypot(self.scale * self.df.sqrt(), value)
