"""`Delta`: all mass at one point."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.fluent import Fluent


class Delta(Fluent, torch.distributions.Distribution):
    r"""All mass at `v`, with a log density that can be chosen there: :math:`\log p(x) = d` at :math:`x = v`, else −∞.

    Args:
        v: the point, any shape.
        log_density: the value d at the point, broadcastable to the batch shape.
        event_dim: how many rightmost dimensions of `v` make up one value.

    Example:
        >>> import torch
        >>> Delta(torch.tensor(2.0)).log_prob(torch.tensor([2.0, 3.0]))
        tensor([0., -inf])
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Any]] = {"v": constraints.dependent, "log_density": constraints.real}

    def __init__(
        self, v: Tensor, log_density: Tensor | float = 0.0, event_dim: int = 0, validate_args: bool | None = None
    ) -> None:
        v = torch.as_tensor(v)
        batch, event = v.shape[: v.dim() - event_dim], v.shape[v.dim() - event_dim :]
        dtype = v.dtype if v.is_floating_point() else torch.get_default_dtype()
        self.v = v
        self.log_density = torch.as_tensor(log_density, dtype=dtype, device=v.device).expand(batch)
        super().__init__(batch, event, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.v

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.v)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Delta:
        batch = torch.Size(batch_shape)
        return Delta(
            self.v.expand(batch + self.event_shape),
            self.log_density.expand(batch),
            len(self.event_shape),
            validate_args=self._validate_args,
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.v if not sample_shape else self.v.expand(torch.Size(sample_shape) + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        here = value == self.v
        for _ in self.event_shape:
            here = here.all(-1)
        return torch.where(here, self.log_density, self.log_density.new_full((), -torch.inf))
