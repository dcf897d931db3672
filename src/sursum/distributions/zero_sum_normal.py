"""`ZeroSumNormal`: normal vectors whose sum is zero, as effects around a common mean are."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.constraints import zero_sum
from sursum.distributions.family import Family, normal
from sursum.errors import OptionError


class ZeroSumNormal(Family):
    r"""Independent normal numbers, given that their sums along each dimension of the event are zero.

    .. math:: p(x) = (2 \pi \sigma^2)^{-r / 2} \exp\left(-\frac{|x|^2}{2 \sigma^2}\right), \qquad r = \prod_k (n_k - 1)

    a density on the r-dimensional space of such tensors; the variance of an element is :math:`\sigma^2 \prod_k (1 - 1/n_k)`.

    Args:
        scale: σ > 0.
        event_shape: (n₁, …), each at least 2.

    Example:
        >>> ZeroSumNormal(1.0, (3,)).log_prob(torch.tensor([1.0, -1.0, 0.0]))
        tensor(-2.8379)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive}
    has_rsample = True
    scale: Tensor

    def __init__(self, scale: Tensor | float, event_shape: int | tuple[int, ...], validate_args: bool | None = None) -> None:
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if not shape or min(shape) < 2:
            raise OptionError(f"`ZeroSumNormal` takes an event shape of sizes of at least 2, but got {shape}.")
        self._keep(shape, validate_args, scale=scale)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        return zero_sum(len(self.event_shape))

    def _wide(self) -> Tensor:
        return self.scale.reshape(self.batch_shape + (1,) * len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return (0 * self._wide()).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        share = math.prod(1 - 1 / n for n in self.event_shape)
        return (self._wide().square() * share).expand(self.batch_shape + self.event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = normal(self.scale, self._extended_shape(torch.Size(sample_shape)))
        for dim in range(-len(self.event_shape), 0):
            drawn = drawn - drawn.mean(dim, keepdim=True)
        return drawn * self._wide()

    def _log_density(self, value: Tensor) -> Tensor:
        rank = math.prod(n - 1 for n in self.event_shape)
        size = value.square().flatten(value.dim() - len(self.event_shape)).sum(-1)
        return -size / (2 * self.scale.square()) - rank * (torch.log(self.scale) + 0.5 * math.log(2 * math.pi))
