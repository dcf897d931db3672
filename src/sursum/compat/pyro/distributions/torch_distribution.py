"""The base class of distributions of one's own, with the methods that Pyro's have."""

from __future__ import annotations

import torch

from sursum.distributions import Masked


class TorchDistributionMixin:
    """The methods of every distribution here, for a subclass of torch's `Distribution`."""

    # Those of sursum's own families, without the rest of them: the constructor of a user's class is the user's.
    __call__ = Masked.__call__
    event_dim = Masked.event_dim
    shape = Masked.shape
    to_event = Masked.to_event
    independent = Masked.independent
    expand_by = Masked.expand_by
    mask = Masked.mask


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
