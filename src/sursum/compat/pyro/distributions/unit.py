"""`Unit`: no value, and a log density that is given."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.compat.pyro.distributions.torch_distribution import TorchDistributionMixin


class Unit(torch.distributions.Distribution, TorchDistributionMixin):
    """The distribution of a factor: its values have no elements, its log density is `log_factor`.

    Example:
        >>> Unit(torch.tensor(-2.0)).log_prob(torch.empty(0))
        tensor(-2.)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, log_factor: Tensor, *, has_rsample: bool | None = None, validate_args: bool | None = None) -> None:
        self.log_factor = torch.as_tensor(log_factor)
        super().__init__(self.log_factor.shape, torch.Size((0,)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Unit:
        return Unit(self.log_factor.expand(torch.Size(batch_shape)))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.log_factor.new_empty(torch.Size(sample_shape) + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_factor.expand(torch.broadcast_shapes(self.batch_shape, value.shape[:-1]))
