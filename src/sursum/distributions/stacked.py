"""Many distributions as one with a leading batch dimension: those of all steps of a site in a scan, or of all draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.fluent import Fluent


class Stacked(Fluent, Distribution):
    r"""Distributions :math:`p_1, \dots, p_T` of one shape: :math:`p(x) = \prod_t p_t(x_t)`.

    Args:
        parts: the distributions; or only one of them if the others are unknown: then only shapes are available.
        size: the number T.

    Example:
        >>> import sursum.distributions as dist, torch
        >>> steps = Stacked([dist.Normal(0.0, 1.0), dist.Normal(5.0, 1.0)], 2)
        >>> steps.batch_shape, steps.log_prob(torch.tensor([0.0, 5.0]))
        (torch.Size([2]), tensor([-0.9189, -0.9189]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, parts: Sequence[Any], size: int) -> None:
        self.parts = tuple(parts)
        first = self.parts[0]
        self.has_rsample = all(part.has_rsample for part in self.parts)
        self.has_enumerate_support = False
        self._size = size
        super().__init__(torch.Size((size, *first.batch_shape)), first.event_shape, validate_args=False)

    def _all(self) -> tuple[Any, ...]:
        if len(self.parts) != self._size:
            raise NotImplementedError("the steps of a scan inside a density were run as one: trace the program itself instead")
        return self.parts

    @constraints.dependent_property
    def support(self) -> Any:
        return self.parts[0].support

    @property
    def mean(self) -> Tensor:
        return torch.stack([part.mean for part in self._all()])

    @property
    def variance(self) -> Tensor:
        return torch.stack([part.variance for part in self._all()])

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return torch.stack([part.sample(shape) for part in self._all()], len(shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return torch.stack([part.rsample(shape) for part in self._all()], len(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if value.dim() < len(self.batch_shape) + len(self.event_shape):
            value = value.expand(self.batch_shape + self.event_shape)  # one value for all of them
        time = value.dim() - len(self.batch_shape) - len(self.event_shape)
        values = value.unbind(max(time, 0))
        return torch.stack([part.log_prob(x) for part, x in zip(self._all(), values, strict=True)], max(time, 0))
