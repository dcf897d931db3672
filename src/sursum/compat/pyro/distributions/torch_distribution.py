"""The base class of distributions of one's own, with the methods that Pyro's have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sursum.distributions import Independent, Masked


class TorchDistributionMixin:
    """The methods of every distribution here, for a subclass of torch's `Distribution`."""

    def __call__(self, sample_shape: Any = ()) -> Tensor:
        """A draw, differentiable where there are such draws."""
        shape, this = torch.Size(sample_shape), self
        drawn: Tensor = this.rsample(shape) if getattr(this, "has_rsample", False) else this.sample(shape)  # type: ignore[attr-defined]
        return drawn

    @property
    def event_dim(self) -> int:
        """How many rightmost dimensions make up one value."""
        return len(self.event_shape)  # type: ignore[attr-defined]

    def shape(self, sample_shape: Any = ()) -> torch.Size:
        """The shape of draws."""
        return torch.Size(sample_shape) + self.batch_shape + self.event_shape  # type: ignore[attr-defined, no-any-return]

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Any:
        """The same with rightmost batch dimensions (all if None) as event dimensions."""
        count = len(self.batch_shape) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims  # type: ignore[attr-defined]
        return Independent(self, count)

    def independent(self, reinterpreted_batch_ndims: int | None = None) -> Any:
        """The old name of `to_event`."""
        return self.to_event(reinterpreted_batch_ndims)

    def expand_by(self, sample_shape: Any) -> Any:
        """Independent copies in new leftmost dimensions."""
        return self.expand(torch.Size(sample_shape) + self.batch_shape)  # type: ignore[attr-defined]

    def mask(self, mask: Tensor | bool) -> Any:
        """The same with a log density of zero where `mask` is False."""
        return Masked(self, mask)


class TorchDistribution(torch.distributions.Distribution, TorchDistributionMixin):
    """The base class of distributions of one's own.

    Example:
        >>> import torch
        >>> class Always(TorchDistribution):
        ...     arg_constraints = {}
        ...     support = torch.distributions.constraints.real
        ...     def sample(self, sample_shape=()):
        ...         return torch.ones(sample_shape)
        ...     def log_prob(self, value):
        ...         return torch.zeros_like(value)
        >>> Always(validate_args=False).shape((2,)), Always(validate_args=False)()
        (torch.Size([2]), tensor(1.))
    """
