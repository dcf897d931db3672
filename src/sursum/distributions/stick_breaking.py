"""`StickBreakingWeights`: weights of a Dirichlet process that is cut off."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family, uniform
from sursum.errors import OptionError


class StickBreakingWeights(Family):
    r"""Weights :math:`w_k = v_k \prod_{j<k} (1 - v_j)`, :math:`v_k \sim \mathrm{Beta}(1, \alpha)`, and the rest.

    .. math:: p(w) = \alpha^K w_{K+1}^{\alpha - 1} \prod_{k=2}^{K} \Bigl(1 - \sum_{j<k} w_j\Bigr)^{-1}

    Args:
        concentration: α > 0; the larger, the more weights matter.
        num_breaks: K.

    References:
        Sethuraman (1994), A constructive definition of Dirichlet priors. Ishwaran, James (2001), Gibbs sampling methods for
        stick-breaking priors.

    Example:
        >>> StickBreakingWeights(2.0, 1).log_prob(torch.tensor([0.5, 0.5])).exp()
        tensor(1.)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"concentration": constraints.positive}
    support = constraints.simplex
    has_rsample = True
    concentration: Tensor

    def __init__(self, concentration: Tensor | float, num_breaks: int, validate_args: bool | None = None) -> None:
        if num_breaks < 1:
            raise OptionError(f"`StickBreakingWeights` takes at least 1 break, but got {num_breaks}.")
        self._keep((int(num_breaks) + 1,), validate_args, concentration=concentration)

    @property
    def mean(self) -> Tensor:
        k = torch.arange(self.event_shape[0], dtype=self.concentration.dtype, device=self.concentration.device)
        alpha = self.concentration.unsqueeze(-1)
        kept = (alpha / (1 + alpha)) ** k
        return torch.cat([kept[..., :-1] / (1 + alpha), kept[..., -1:]], -1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        rests = uniform(self.concentration, torch.Size([*shape[:-1], shape[-1] - 1])).log() / self.concentration.unsqueeze(-1)
        left = torch.nn.functional.pad(rests.cumsum(-1), (1, 0)).exp()
        return torch.cat([left[..., :-1] * -torch.expm1(rests), left[..., -1:]], -1)

    def _log_density(self, value: Tensor) -> Tensor:
        alpha, breaks = self.concentration, self.event_shape[0] - 1
        left = value.flip(-1).cumsum(-1).flip(-1)[..., 1:-1]  # of the stick, after each break but the last
        return breaks * alpha.log() + (alpha - 1) * value[..., -1].log() - left.log().sum(-1)
