"""`Truncated`: a distribution on an interval only, made to integrate to one there."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Cauchy, Normal, constraints

from sursum.common.torch_private import without_dispatch_modes
from sursum.distributions.constraints import OpenedInterval
from sursum.distributions.family import Family, inside, promote, uniform
from sursum.distributions.tails import Tails, log_mass, log_one_minus_exp, quantile, tails_at
from sursum.errors import DensityError


class Cut(Family):
    """Made of a distribution of numbers and of two bounds, either of which may be missing."""

    arg_constraints: ClassVar[dict[str, Any]] = {"low": constraints.dependent, "high": constraints.dependent}
    base_dist: Any
    low: Tensor | None = None
    high: Tensor | None = None

    _verb: ClassVar[str]

    def __init__(
        self,
        base_dist: Any,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if base_dist.event_shape:
            raise DensityError(
                f"only distributions of numbers can be {self._verb}, and {type(base_dist).__name__} has vectors."
            )
        self._keep((), validate_args, base_dist=base_dist, low=low, high=high)


class Truncated(Cut):
    r"""A distribution with a cdf F, given that low ≤ x ≤ high:

    .. math:: p(x) = \frac{p_{base}(x)}{F(high) - F(low)}

    The bounds may be latent. The normalising constant is computed from the smaller tails, so that an interval far out on
    either side keeps its digits. Of counts, both bounds are included and must not depend on what is latent.

    Args:
        base_dist: the distribution, continuous with a cdf, or of counts.
        low: the lower bound, or None. Elements may be −∞.
        high: the upper bound, or None. Elements may be ∞.

    Raises:
        DensityError: a distribution of vectors, or without a cdf.

    Example:
        >>> import sursum.distributions as dist
        >>> dist.Truncated(dist.Normal(0.0, 1.0), low=0.0).log_prob(torch.tensor(1.0))
        tensor(-0.7258)
    """

    _verb = "truncated"

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.base_dist.has_rsample and not self.base_dist.support.is_discrete)

    @constraints.dependent_property
    def support(self) -> Any:
        inner = self.base_dist.support
        ends = getattr(inner, "lower_bound", None), getattr(inner, "upper_bound", None)
        if inner.is_discrete:
            return _integers(self.low, self.high, ends)
        low, high = _tighter(self.low, ends[0], torch.maximum), _tighter(self.high, ends[1], torch.minimum)
        if low is None or high is None:
            if low is not None and not _may_be_infinite(low):
                return constraints.greater_than_eq(low)
            if high is not None and not _may_be_infinite(high):
                return constraints.less_than(high)
            if low is None and high is None:
                return inner
            low, high = (torch.as_tensor(e) for e in (-torch.inf if low is None else low, torch.inf if high is None else high))
        if _may_be_infinite(low) or _may_be_infinite(high):
            return OpenedInterval(*torch.broadcast_tensors(torch.as_tensor(low), torch.as_tensor(high)))
        return constraints.interval(low, high)

    @property
    def _normaliser(self) -> Tensor:
        """The logarithm of the mass between the bounds."""
        if not self.base_dist.support.is_discrete:
            return log_mass(self.base_dist, self.low, self.high)
        first = int(getattr(self.base_dist.support, "lower_bound", 0))
        low = None if self.low is None else torch.ceil(self.low)
        if self.high is None:
            assert low is not None
            top = int(low.max()) - 1
            return log_one_minus_exp(self._sum(first, top, None, low - 1)) if top >= first else torch.zeros_like(low)
        return self._sum(first, int(torch.floor(self.high).max()), low, self.high)

    def _sum(self, first: int, last: int, low: Tensor | None, high: Tensor) -> Tensor:
        """log Σ p(k) over the k from low to high, all of them from `first` to `last`."""
        k = torch.arange(first, last + 1, dtype=high.dtype, device=high.device).reshape(-1, *(1,) * len(self.batch_shape))
        terms = self.base_dist.expand(torch.Size([len(k), *self.batch_shape])).log_prob(k.expand(len(k), *self.batch_shape))
        within = k <= high if low is None else (k >= low) & (k <= high)
        return torch.where(within, terms, -torch.inf).logsumexp(0)

    def _log_density(self, value: Tensor) -> Tensor:
        log_prob = self.base_dist.log_prob(value)
        if self.low is None and self.high is None:
            return torch.as_tensor(log_prob)
        low = torch.full_like(log_prob, -torch.inf) if self.low is None else self.low
        high = torch.full_like(log_prob, torch.inf) if self.high is None else self.high
        return inside(value, low, high, log_prob - self._normaliser)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        if self.base_dist.support.is_discrete:
            return self._draw_again(shape)
        return self._at(uniform(torch.as_tensor(self._normaliser), shape))

    sample = torch.no_grad()(rsample)

    def icdf(self, value: Tensor) -> Tensor:
        return self._at(value)

    def _at(self, share: Tensor) -> Tensor:
        """The quantile at a share of the interval's mass: from either end, whichever tail is smaller."""
        zero, nothing = torch.zeros_like(share), torch.full_like(share, -torch.inf)
        lower = (nothing, zero) if self.low is None else tails_at(self.base_dist, self.low)
        upper = (zero, nothing) if self.high is None else tails_at(self.base_dist, self.high)
        less, more = torch.log1p(-share), torch.log(share)
        below = torch.logaddexp(less + lower[0], more + upper[0])
        above = torch.logaddexp(less + lower[1], more + upper[1])
        found = quantile(self.base_dist, below, above)
        found = found if self.low is None else torch.maximum(found, self.low)
        return found if self.high is None else torch.minimum(found, self.high)

    def _draw_again(self, shape: torch.Size) -> Tensor:
        """Of counts: drawn again until they lie inside."""
        found = self.base_dist.sample(shape[: len(shape) - len(self.batch_shape)])
        for _ in range(10_000):
            outside = torch.zeros_like(found, dtype=torch.bool)
            outside = outside if self.low is None else outside | (found < self.low)
            outside = outside if self.high is None else outside | (found > self.high)
            if not bool(outside.any()):
                return torch.as_tensor(found)
            found = torch.where(outside, self.base_dist.sample(shape[: len(shape) - len(self.batch_shape)]), found)
        raise DensityError(
            f"{type(self.base_dist).__name__} gave no count between the bounds in 10,000 draws: they have next to no mass."
        )

    def _log_tails(self, value: Tensor) -> Tails:
        total = self._normaliser
        low = torch.full_like(value, -torch.inf) if self.low is None else self.low.expand_as(value)
        high = torch.full_like(value, torch.inf) if self.high is None else self.high.expand_as(value)
        value = torch.clamp(value, low, high)
        return log_mass(self.base_dist, low, value) - total, log_mass(self.base_dist, value, high) - total


class _OfLocationAndScale(Truncated):
    """A family with a location and a scale, truncated."""

    _family: ClassVar[Any]

    def __init__(
        self,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = promote({"loc": loc, "scale": scale})
        super().__init__(self._family(given["loc"], given["scale"], validate_args=validate_args), low, high, validate_args)


class TruncatedNormal(_OfLocationAndScale):
    r"""A normal distribution, given that low ≤ x ≤ high.

    .. math:: p(x) = \frac{\varphi((x - \mu) / \sigma) / \sigma}{\Phi((high - \mu) / \sigma) - \Phi((low - \mu) / \sigma)}

    Args:
        loc: the location μ of the normal distribution.
        scale: its scale σ > 0.
        low, high: the bounds; None for none. They may be latent.

    References:
        Johnson, Kotz, Balakrishnan, Continuous Univariate Distributions 1, section 13.10.

    Example:
        >>> TruncatedNormal(1.0, 2.0, low=0.0).log_prob(torch.tensor(0.5))
        tensor(-1.2744)
    """

    _family = Normal

    @property
    def loc(self) -> Tensor:
        loc: Tensor = self.base_dist.loc
        return loc

    @property
    def scale(self) -> Tensor:
        scale: Tensor = self.base_dist.scale
        return scale

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mode, and the mean and the variance of the distance from it, in units of the scale.

        By quadrature from the mode in both directions, as far as the density is not below e⁻⁴⁰ of its highest: formulas with
        φ and Φ lose all digits where the interval is narrow or far out.
        """
        zero = torch.zeros_like(self._normaliser)
        infinite = torch.full_like(zero, math.inf)
        low, high = (
            sign * infinite if bound is None else self._units(bound, self.loc, sign * infinite)
            for bound, sign in ((self.low, -1.0), (self.high, 1.0))
        )
        mode = torch.maximum(torch.minimum(zero, high), low)
        width = infinite if self.low is None or self.high is None else self._units(self.high, self.low, infinite)
        reach = 80.0 / (mode.abs() + (mode.square() + 80.0).sqrt())
        node, weight = (torch.tensor(part, dtype=zero.dtype, device=zero.device) for part in _rule())
        points, masses = [], []
        for end, side in ((low, -1.0), (high, 1.0)):
            room = torch.where(mode == end, 0.0, torch.where((low == mode) | (high == mode), width, (end - mode).abs()))
            length = torch.minimum(room, reach).unsqueeze(-1)
            away = side * length * node
            points.append(away)
            masses.append(length * weight * torch.exp(-away * (mode.unsqueeze(-1) + away / 2)))
        away, mass = torch.cat(points, -1), torch.cat(masses, -1)
        mass = mass / mass.sum(-1, keepdim=True)
        mean = (mass * away).sum(-1)
        return mode, mean, (mass * (away - mean.unsqueeze(-1)).square()).sum(-1)

    def _units(self, bound: Tensor, origin: Tensor, infinite: Tensor) -> Tensor:
        """A distance in units of the scale; infinity over a scale has no derivative."""
        finite = torch.isfinite(bound) & torch.isfinite(origin)
        away = torch.where(finite, bound, 0.0) - torch.where(finite, origin, 0.0)
        return torch.where(finite, away / self.scale, infinite)

    @property
    def mean(self) -> Tensor:
        mode, away, _ = self._moments()
        return self.loc + self.scale * mode + self.scale * away

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * self._moments()[2]


class TruncatedCauchy(_OfLocationAndScale):
    """A Cauchy distribution, given that low ≤ x ≤ high; arguments as those of `TruncatedNormal`.

    Example:
        >>> TruncatedCauchy(0.0, 1.0, low=0.0).log_prob(torch.tensor(1.0))
        tensor(-1.1447)
    """

    _family = Cauchy


def _may_be_infinite(bound: Any) -> bool:
    """Whether an element is infinite: of bounds that are written down, not of latent ones."""
    if not isinstance(bound, Tensor):
        return False
    with torch.no_grad(), without_dispatch_modes():
        try:
            return bool(torch.isinf(bound.detach()).any())
        except RuntimeError:  # many at once, as vmap has them
            return False


def _tighter(own: Tensor | None, other: Any, better: Any) -> Any:
    if own is None or other is None:
        return other if own is None else own
    return better(own, torch.as_tensor(other, dtype=own.dtype, device=own.device))


def _integers(low: Tensor | None, high: Tensor | None, ends: tuple[Any, Any]) -> Any:
    first = _tighter(None if low is None else torch.ceil(low), ends[0], torch.maximum)
    last = _tighter(None if high is None else torch.floor(high), ends[1], torch.minimum)
    if last is None:
        return constraints.nonnegative_integer if first is None else type(constraints.nonnegative_integer)(first)
    return constraints.integer_interval(0 if first is None else first, last)


@functools.cache
def _rule() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Gauss and Legendre's rule of 64 points on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return tuple((0.5 + 0.5 * nodes).tolist()), tuple((0.5 * weights).tolist())
