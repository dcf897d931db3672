"""`Censored`: numbers of which only a bound is known where they lie beyond it; and what is known by intervals."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.constraints import Clamped, Intervals
from sursum.distributions.family import Family
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.tails import inner_point, log_mass, log_one_minus_exp, tails_at
from sursum.distributions.truncated import Cut
from sursum.errors import DensityError


class _Censoring(Family):
    base_dist: Any

    def _check(self, base_dist: Any) -> None:
        if base_dist.event_shape:
            raise DensityError(f"only distributions of numbers can be censored, and {type(base_dist).__name__} has vectors.")

    @property
    def _is_discrete(self) -> bool:
        return bool(self.base_dist.support.is_discrete)

    def _below(self, bound: Tensor) -> Tensor:
        """log P(X ≤ bound)"""
        if not self._is_discrete:
            return tails_at(self.base_dist, bound)[0]
        return _sum_up_to(self.base_dist, bound)

    def _from(self, bound: Tensor) -> Tensor:
        """log P(X ≥ bound)"""
        if not self._is_discrete:
            return tails_at(self.base_dist, bound)[1]
        return log_one_minus_exp(_sum_up_to(self.base_dist, torch.ceil(bound) - 1))


class Censored(Cut, _Censoring):
    r"""Numbers that were cut off at a bound: one that lies beyond it is known as the bound itself.

    .. math:: p(low) = P(X \le low), \qquad p(x) = p_{base}(x), \quad low < x < high, \qquad p(high) = P(X \ge high)

    Numbers that were left out, instead, are `Truncated`.

    Args:
        base_dist: the distribution of what was to be measured, with a cdf, or of counts.
        low: the lower bound, or None; of each number its own, where bounds differ. They may be latent.
        high: the upper bound, or None.

    Raises:
        DensityError: a distribution of vectors, or without a cdf.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.Censored(dist.Normal(0.0, 1.0), high=1.0).log_prob(torch.tensor([0.5, 1.0]))
        tensor([-1.0439, -1.8410])
    """

    _verb = "censored"

    @property
    def support(self) -> Any:
        return Clamped(self.base_dist.support, self.low, self.high)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._clamp(torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape))))

    def _clamp(self, value: Tensor) -> Tensor:
        value = value if self.low is None else torch.maximum(value, self.low)
        return value if self.high is None else torch.minimum(value, self.high)

    def _log_density(self, value: Tensor) -> Tensor:
        low = None if self.low is None else value <= self.low
        high = None if self.high is None else value >= self.high
        inner = torch.as_tensor(self.base_dist.log_prob(value))
        # A tail is taken at the value where it does not count: at a bound that is infinite it has no gradient.
        if low is not None and self.low is not None:
            inner = torch.where(low, self._below(torch.where(low, self.low, value)), inner)
        if high is not None and self.high is not None:
            inner = torch.where(high, self._from(torch.where(high, self.high, value)), inner)
        return inner


class LeftCensoredDistribution(_Censoring):
    r"""Numbers of which those marked are known to lie at or below the value: :math:`P(X \le x)` there, p(x) elsewhere.

    Args:
        base_dist: the distribution, with a cdf, or of counts.
        censored: which are marked, a boolean tensor.

    Example:
        >>> import sursum.distributions as dist
        >>> fn = dist.LeftCensoredDistribution(dist.Normal(0.0, 1.0), torch.tensor([False, True]))
        >>> fn.log_prob(torch.tensor([0.0, 0.0]))
        tensor([-0.9189, -0.6931])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"censored": constraints.boolean}
    censored: Tensor

    def __init__(self, base_dist: Any, censored: Tensor | bool = False, validate_args: bool | None = None) -> None:
        self._check(base_dist)
        self._keep((), validate_args, base_dist=base_dist, censored=torch.as_tensor(censored) * 1.0)

    @constraints.dependent_property
    def support(self) -> Any:
        return self.base_dist.support

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape)))

    def _log_density(self, value: Tensor) -> Tensor:
        return torch.where(self.censored > 0, self._below(value), self.base_dist.log_prob(value))


class RightCensoredDistribution(LeftCensoredDistribution):
    r"""Numbers of which those marked are known to lie at or above the value: :math:`P(X \ge x)` there, p(x) elsewhere.

    Survival times: ``RightCensoredDistribution(dist.Weibull(scale, shape), censored=~event)``.

    Args:
        base_dist: the distribution, with a cdf, or of counts.
        censored: which are marked, a boolean tensor.

    Example:
        >>> import sursum.distributions as dist
        >>> fn = dist.RightCensoredDistribution(dist.Exponential(1.0), torch.tensor([False, True]))
        >>> fn.log_prob(torch.tensor([2.0, 3.0]))
        tensor([-2., -3.])
    """

    def _log_density(self, value: Tensor) -> Tensor:
        return torch.where(self.censored > 0, self._from(value), self.base_dist.log_prob(value))


class IntervalCensoredDistribution(_Censoring):
    r"""Numbers known to lie between two bounds, which are the value, shape (…, 2): :math:`\log P(low < X \le high)`.

    An infinite bound is none: (x, ∞) is right-censored at x. Where both are the same the number is known, and p(x) counts.

    Args:
        base_dist: the distribution, continuous, with a cdf.
        left_censored: where True only the upper bound counts.
        right_censored: where True only the lower bound counts; with both, what lies outside of the interval.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.IntervalCensoredDistribution(dist.Exponential(1.0)).log_prob(torch.tensor([[1.0, 2.0], [3.0, torch.inf]]))
        tensor([-1.4587, -3.0000])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "left_censored": constraints.boolean,
        "right_censored": constraints.boolean,
    }
    left_censored: Tensor
    right_censored: Tensor

    def __init__(
        self,
        base_dist: Any,
        left_censored: Tensor | bool = False,
        right_censored: Tensor | bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self._check(base_dist)
        if base_dist.support.is_discrete:
            raise DensityError(
                f"`IntervalCensoredDistribution` takes a continuous distribution, not {type(base_dist).__name__}."
            )
        marks = torch.as_tensor(left_censored) * 1.0, torch.as_tensor(right_censored) * 1.0
        self._keep((2,), validate_args, base_dist=base_dist, left_censored=marks[0], right_censored=marks[1])

    @property
    def support(self) -> Any:
        return Intervals(self.base_dist.support)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws are numbers that are known: both bounds are the same."""
        drawn = torch.as_tensor(self.base_dist.sample(torch.Size(sample_shape)))
        return torch.stack([drawn, drawn], -1)

    def _log_density(self, value: Tensor) -> Tensor:
        low, high = value[..., 0], value[..., 1]
        left, right = self.left_censored > 0, self.right_censored > 0
        known = (low == high) & ~left & ~right
        start = torch.where(left & ~right, -torch.inf, low)
        end = torch.where(right & ~left, torch.inf, high)
        # A number that is known stands for an interval here, and its own density is taken in the end.
        mass = log_mass(self.base_dist, torch.where(known, -torch.inf, start), torch.where(known, torch.inf, end))
        outside = left & right
        mass = torch.where(outside, log_one_minus_exp(torch.where(outside, mass, -1.0)), mass)
        # Bounds may lie beyond the support; the density of what is not known is taken inside, and left.
        at = torch.where(known & torch.isfinite(low), low, inner_point(self.base_dist, low))
        point = torch.as_tensor(self.base_dist.log_prob(at))
        return torch.where(known, point, mass)


def _sum_up_to(base: Any, bound: Tensor) -> Tensor:
    """log P(X ≤ bound) of counts: the sum of their probabilities."""
    first = int(getattr(base.support, "lower_bound", 0))
    last = int(torch.floor(bound.detach()).max()) if bound.numel() else first
    if last < first:
        return torch.full_like(bound + torch.zeros(base.batch_shape), -torch.inf)
    shape = broadcast_shapes(bound.shape, base.batch_shape)
    k = torch.arange(first, last + 1, dtype=bound.dtype, device=bound.device).reshape(-1, *(1,) * len(shape))
    terms = torch.as_tensor(base.expand(torch.Size([len(k), *shape])).log_prob(k.expand(len(k), *shape)))
    return torch.where(k <= bound, terms, -torch.inf).logsumexp(0)
