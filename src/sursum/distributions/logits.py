r"""Logarithms of the probabilities that a distribution is given, for all probabilities that have one.

torch keeps probabilities a rounding error of 1 away from 0 and 1, so that in float32 the logarithm of :math:`10^{-9}` is −15.9.
Here only what has no logarithm is moved: 0 to the smallest number with all digits, and 1 to the largest below it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.utils import lazy_property

from sursum.distributions.shapes import broadcast_shapes


class Odds:
    r"""Mixin of distributions with one probability: ``logits`` is :math:`\log p - \log(1 - p)`."""

    probs: Tensor

    @lazy_property
    def logits(self) -> Tensor:
        probs = _inner(self.probs)
        return torch.log(probs) - torch.log1p(-probs)


class Logs:
    """Mixin of distributions with the probabilities of several categories: ``logits`` are their logarithms."""

    probs: Tensor

    @lazy_property
    def logits(self) -> Tensor:
        return torch.log(_inner(self.probs))


class LogsOfCategorical:
    """Mixin of distributions that keep their probabilities in a `torch.distributions.Categorical`."""

    @property
    def logits(self) -> Tensor:
        categorical = self._categorical  # type: ignore[attr-defined]
        found: Tensor = categorical.logits if "logits" in vars(categorical) else torch.log(_inner(categorical.probs))
        return found


def _inner(probs: Tensor) -> Tensor:
    limits = torch.finfo(probs.dtype)
    return probs.clamp(limits.tiny, 1 - limits.eps / 2)


def pick(logits: Tensor, index: Tensor) -> Tensor:
    """The logits of the categories `index`, with both batch shapes broadcast.

    Example:
        >>> pick(torch.tensor([0.1, 0.2, 0.7]), torch.tensor([2, 0]))
        tensor([0.7000, 0.1000])
    """
    shape = broadcast_shapes(logits.shape[:-1], index.shape)
    found = logits.expand(*shape, logits.shape[-1]).gather(-1, index.expand(shape).unsqueeze(-1))
    return found.squeeze(-1)
