"""`DiscreteUniform`: the integers from one to another, all with the same probability."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.common.precision import default_dtype
from sursum.common.torch_private import is_all_true
from sursum.distributions.family import Family


class DiscreteUniform(Family):
    r"""Integers: :math:`p(x) = 1 / (b - a + 1)`, x = a, a + 1, …, b.

    Args:
        low: a, an integer.
        high: b ≥ a, an integer, which is included.

    Returns:
        Draws are of dtype int64, so that they can index.

    Example:
        >>> DiscreteUniform(1, 6).log_prob(torch.tensor(3)).exp()
        tensor(0.1667)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"low": constraints.dependent, "high": constraints.dependent}
    has_enumerate_support = True
    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor | int = 0, high: Tensor | int = 1, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, low=low, high=high)
        self.low, self.high = self.low.long(), self.high.long()
        if self._validate_args and not is_all_true(self.low <= self.high):
            raise ValueError("DiscreteUniform is not defined when low > high")

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(self.low, self.high)

    @property
    def _count(self) -> Tensor:
        return (self.high - self.low + 1).to(default_dtype())

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Tensor:
        return (self._count.square() - 1) / 12

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        share = torch.rand(shape, dtype=torch.float64, device=self.low.device)
        return torch.minimum(self.low + (share * (self.high - self.low + 1)).long(), self.high)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        first, last = int(self.low.min()), int(self.high.max())
        if not bool(((self.low == first) & (self.high == last)).all()):
            raise NotImplementedError("the supports of a batch with different bounds cannot be enumerated")
        values = torch.arange(first, last + 1, device=self.low.device).reshape(-1, *(1,) * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    def _log_density(self, value: Tensor) -> Tensor:
        within = (value >= self.low) & (value <= self.high)
        return torch.where(within, -torch.log(self._count), -torch.inf)

    def cdf(self, value: Tensor) -> Tensor:
        return ((torch.floor(value) - self.low + 1) / self._count).clamp(0.0, 1.0)
