"""`FoldedDistribution`: the absolute value of another."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.family import Family
from sursum.distributions.tails import Tails, log_mass
from sursum.errors import DensityError


class FoldedDistribution(Family):
    r"""The absolute value of a draw: :math:`p(x) = p_{base}(x) + p_{base}(-x)`, x ≥ 0.

    Args:
        base_dist: a distribution of real numbers.

    Raises:
        DensityError: a distribution of counts, or of vectors.

    Example:
        >>> import sursum.distributions as dist
        >>> FoldedDistribution(dist.Normal(1.0, 1.0)).log_prob(torch.tensor(1.0)).exp()
        tensor(0.4529)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.nonnegative
    base_dist: Any

    def __init__(self, base_dist: Distribution, validate_args: bool | None = None) -> None:
        if base_dist.event_shape or base_dist.support is None or base_dist.support.is_discrete:
            raise DensityError(
                f"only distributions of real numbers can be folded, not {type(base_dist).__name__} with event shape "
                f"{tuple(base_dist.event_shape)}. Fold first, then call `.to_event`."
            )
        self._keep((), validate_args, base_dist=base_dist)
        self.has_rsample = base_dist.has_rsample

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of a folded distribution has no closed form")

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return torch.as_tensor(self.base_dist.rsample(torch.Size(sample_shape)).abs())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape)).abs())

    def _log_density(self, value: Tensor) -> Tensor:
        return torch.logaddexp(self.base_dist.log_prob(value), self.base_dist.log_prob(-value))

    def _log_tails(self, value: Tensor) -> Tails:
        within = log_mass(self.base_dist, -value, value)
        below, above = log_mass(self.base_dist, None, -value), log_mass(self.base_dist, value, None)
        return within, torch.logaddexp(below, above)
