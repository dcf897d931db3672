"""`Empirical`: weighted draws as a distribution."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.fluent import Fluent
from sursum.distributions.standard import Categorical


class Empirical(Fluent, torch.distributions.Distribution):
    r"""Weighted draws: :math:`P(x = x_i) \propto w_i`.

    Args:
        samples: the draws, along the dimension right after the batch dimensions of `log_weights`.
        log_weights: the logarithms of their weights, of shape (*batch, number of draws).

    Example:
        >>> empirical = Empirical(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]).log())
        >>> empirical.mean, empirical.log_prob(torch.tensor(2.0)).exp()
        (tensor(1.2500), tensor(0.5000))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real
    has_enumerate_support = True

    def __init__(self, samples: Tensor, log_weights: Tensor, validate_args: bool | None = None) -> None:
        self._samples, self._log_weights = samples, log_weights
        batch = log_weights.shape[:-1]
        if samples.shape[: log_weights.dim()] != log_weights.shape:
            raise ValueError(f"draws of shape {tuple(samples.shape)} do not fit log weights of {tuple(log_weights.shape)}.")
        super().__init__(batch, samples.shape[log_weights.dim() :], validate_args=False)

    @property
    def sample_size(self) -> int:
        """The number of draws."""
        return self._log_weights.shape[-1]

    @property
    def log_weights(self) -> Tensor:
        return self._log_weights

    def _probabilities(self) -> Tensor:
        probabilities = self._log_weights.softmax(-1)
        return probabilities.reshape(probabilities.shape + (1,) * len(self.event_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        index = Categorical(logits=self._log_weights).sample(shape)
        at = index.movedim(tuple(range(len(shape))), tuple(range(-len(shape), 0))) if shape else index.unsqueeze(-1)
        at = at.reshape((*self.batch_shape, -1))
        at = at.reshape(at.shape + (1,) * len(self.event_shape)).expand(at.shape + self.event_shape)
        drawn = self._samples.gather(len(self.batch_shape), at)
        drawn = drawn.movedim(len(self.batch_shape), 0)
        return drawn.reshape(shape + self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the weight of all draws that equal `value`."""
        same = self._samples == value.unsqueeze(value.dim() - len(self.event_shape))
        for _ in self.event_shape:
            same = same.all(-1)
        terms = torch.where(same, self._log_weights, self._log_weights.new_full((), -torch.inf))
        return terms.logsumexp(-1) - self._log_weights.logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        return (self._probabilities() * self._samples).sum(len(self.batch_shape))

    @property
    def variance(self) -> Tensor:
        away = self._samples - self.mean.unsqueeze(len(self.batch_shape))
        return (self._probabilities() * away.square()).sum(len(self.batch_shape))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every draw, leftmost."""
        return self._samples.movedim(len(self.batch_shape), 0)
