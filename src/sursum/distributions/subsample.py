"""`Subsample`: the indices of a subsampled plate."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints


class Subsample(torch.distributions.Distribution):
    """`count` of the integers below `size`, without replacement. It is not part of the model: its log density is 0.

    Example:
        >>> Subsample(5, 5).sample().sort().values
        tensor([0, 1, 2, 3, 4])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count = size, count
        super().__init__(torch.Size(), torch.Size([count]), validate_args=False)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.independent(constraints.integer_interval(0, self.size - 1), 1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.randperm(self.size)[: self.count]

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros(())
