"""`OrderedLogistic`, `OrderedProbit`: ordered categories as intervals of a latent number."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.constraints import ordered
from sursum.distributions.family import Family
from sursum.distributions.narrow import in_interval
from sursum.distributions.standard import Categorical, Normal
from sursum.distributions.tails import log_one_minus_exp, log_tails


class _Ordinal(Family):
    arg_constraints: ClassVar[dict[str, Any]] = {"predictor": constraints.real, "cutpoints": ordered}
    has_enumerate_support = True
    predictor: Tensor
    cutpoints: Tensor

    def __init__(self, predictor: Tensor | float, cutpoints: Tensor, validate_args: bool | None = None) -> None:
        self.count = cutpoints.shape[-1] + 1
        self._keep((), validate_args, predictor=predictor, cutpoints=cutpoints)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.count - 1)

    @property
    def logits(self) -> Tensor:
        """The logarithms of the categories' probabilities, shape (…, K)."""
        raise NotImplementedError

    @property
    def probs(self) -> Tensor:
        return self.logits.exp()

    @property
    def mean(self) -> Tensor:
        return (self.probs * torch.arange(self.count, dtype=self.predictor.dtype)).sum(-1)

    @property
    def variance(self) -> Tensor:
        squares = torch.arange(self.count, dtype=self.predictor.dtype).square()
        return (self.probs * squares).sum(-1) - self.mean.square()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = Categorical(logits=self.logits, validate_args=False).sample(torch.Size(sample_shape))
        return drawn

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = torch.arange(self.count, device=self.predictor.device).reshape(-1, *(1,) * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits = self.logits
        index, wide = torch.broadcast_tensors(value.long().unsqueeze(-1), logits)
        found: Tensor = wide.gather(-1, index[..., :1])
        return found.squeeze(-1)


class OrderedLogistic(_Ordinal):
    r"""Ordered categories 0, …, K − 1: proportional odds.

    .. math:: P(x \le k) = \sigma(c_{k+1} - \eta), \qquad c_1 < \dots < c_{K-1}

    Args:
        predictor: η; the larger, the higher the category.
        cutpoints: c, increasing, shape (…, K − 1).

    References:
        McCullagh (1980), Regression models for ordinal data.

    Example:
        >>> OrderedLogistic(0.5, torch.tensor([-1.0, 1.0])).probs
        tensor([0.1824, 0.4400, 0.3775])
    """

    @property
    def logits(self) -> Tensor:
        z = self.cutpoints - self.predictor.unsqueeze(-1)
        below, above = logsigmoid(z), logsigmoid(-z)
        # σ(b) − σ(a) = σ(b) σ(−a) (1 − e^(a − b)), which has all digits on either side
        gaps = self.cutpoints[..., :-1] - self.cutpoints[..., 1:]
        between = below[..., 1:] + above[..., :-1] + log_one_minus_exp(torch.clamp(gaps, max=0.0))
        return torch.cat([below[..., :1], between, above[..., -1:]], -1)


class OrderedProbit(_Ordinal):
    r"""Ordered categories of a latent normal number: :math:`P(x \le k) = \Phi((c_{k+1} - \eta) / s)`.

    Args:
        predictor: η; the larger, the higher the category.
        cutpoints: c, increasing, shape (…, K − 1).
        scale: the standard deviation s > 0 of the latent number.

    Example:
        >>> OrderedProbit(0.5, torch.tensor([-1.0, 1.0])).probs
        tensor([0.0668, 0.6247, 0.3085])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {**_Ordinal.arg_constraints, "scale": constraints.positive}
    scale: Tensor

    def __init__(
        self,
        predictor: Tensor | float,
        cutpoints: Tensor,
        scale: Tensor | float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self.count = cutpoints.shape[-1] + 1
        self._keep((), validate_args, predictor=predictor, cutpoints=cutpoints, scale=scale)

    @property
    def logits(self) -> Tensor:
        cuts = self.cutpoints
        whole = Normal(self.predictor.unsqueeze(-1), self.scale.unsqueeze(-1), validate_args=False)
        below, above = log_tails(whole, cuts)
        if self.count == 2:
            return torch.cat([below, above], -1)
        right = above[..., :-1] < below[..., :-1]  # the side on which an interval lies
        large = torch.where(right, above[..., :-1], below[..., 1:])
        small = torch.where(right, above[..., 1:], below[..., :-1])
        none = small == -torch.inf
        less = torch.where(none, -1.0, torch.clamp(small - torch.where(none, 0.0, large), max=0.0))
        found = torch.where(none, large, large + log_one_minus_exp(less))
        between = in_interval(whole, cuts[..., :-1], cuts[..., 1:], less, found, lambda: cuts[..., :-1])
        return torch.cat([below[..., :1], between, above[..., -1:]], -1)
