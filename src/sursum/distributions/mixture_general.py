"""`MixtureGeneral`: a mixture of distributions of different kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.family import Family
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.standard import Categorical
from sursum.distributions.supports import bounds, holds, support_of
from sursum.errors import DensityError


class MixtureGeneral(Family):
    r"""A mixture of K distributions, which may be of different kinds: :math:`p(x) = \sum_k w_k\, p_k(x)`.

    A component outside of whose support a value lies adds nothing to its density.

    Args:
        mixing_distribution: a `Categorical` with the weights w.
        component_distributions: K distributions with the same event shape, all continuous or all discrete.
        support: the set of all values; None for that of the components, or an interval that holds theirs.

    Raises:
        DensityError: components that do not fit.

    Example:
        >>> import sursum.distributions as dist
        >>> fn = MixtureGeneral(dist.Categorical(torch.tensor([0.5, 0.5])), [dist.Normal(0.0, 1.0), dist.Exponential(1.0)])
        >>> fn.log_prob(torch.tensor([-1.0, 1.0])).exp()
        tensor([0.1210, 0.3049])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"weights": constraints.real_vector}
    weights: Tensor

    def __init__(
        self,
        mixing_distribution: Categorical,
        component_distributions: Sequence[Distribution],
        support: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        parts = list(component_distributions)
        count = mixing_distribution.logits.shape[-1]
        if len(parts) != count:
            raise DensityError(f"a MixtureGeneral of {count} weights takes as many components, but got {len(parts)}.")
        shapes = {part.event_shape for part in parts}
        kinds = {bool(support_of(part).is_discrete) for part in parts}
        if len(shapes) > 1 or len(kinds) > 1:
            raise DensityError(
                "the components of a MixtureGeneral must have one event shape, and be all continuous or all discrete, but are "
                f"{', '.join(f'{type(part).__name__} with {tuple(part.event_shape)}' for part in parts)}."
            )
        batch = broadcast_shapes(mixing_distribution.batch_shape, *(part.batch_shape for part in parts))
        self._given_support = support
        self._count = count
        for k, part in enumerate(parts):
            setattr(self, f"component_{k}", part.expand(batch))
        logits = mixing_distribution.logits
        self._keep(tuple(parts[0].event_shape), validate_args, weights=logits.expand((*batch, count)))

    @property
    def component_distributions(self) -> tuple[Any, ...]:
        """The components."""
        return tuple(getattr(self, f"component_{k}") for k in range(self._count))

    @property
    def mixing_distribution(self) -> Categorical:
        """The distribution of the component."""
        return Categorical(logits=self.weights, validate_args=False)

    @property
    def support(self) -> Any:
        if self._given_support is not None:
            return self._given_support
        supports = [support_of(part) for part in self.component_distributions]
        if all(type(s) is type(supports[0]) and bounds(s) in (None, bounds(supports[0])) for s in supports):
            return supports[0]
        ends = [bounds(s) for s in supports]
        if supports[0].is_discrete or any(end is None or any(isinstance(e, Tensor) for e in end) for end in ends):
            raise NotImplementedError("the components have different supports: give `support`, a set that holds them all")
        low, high = min(end[0] for end in ends if end), max(end[1] for end in ends if end)
        if low == -math.inf and high == math.inf:
            hull: Any = constraints.real
        elif high == math.inf:
            hull = constraints.nonnegative if low == 0 else constraints.greater_than_eq(low)
        else:
            hull = constraints.less_than(high) if low == -math.inf else constraints.interval(low, high)
        return constraints.independent(hull, supports[0].event_dim) if supports[0].event_dim else hull

    @property
    def mean(self) -> Tensor:
        return self._average([torch.as_tensor(part.mean) for part in self.component_distributions])

    @property
    def variance(self) -> Tensor:
        parts = self.component_distributions
        squares = self._average([part.variance + torch.as_tensor(part.mean).square() for part in parts])
        return squares - self.mean.square()

    def _average(self, values: list[Tensor]) -> Tensor:
        weights = self.weights.softmax(-1).reshape((*self.batch_shape, *(1,) * len(self.event_shape), self._count))
        return (weights * torch.stack(values, -1)).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        each = torch.stack([torch.as_tensor(part.sample(shape)) * 1.0 for part in self.component_distributions], -1)
        index = self.mixing_distribution.sample(shape)
        index = index.reshape((*index.shape, *(1,) * len(self.event_shape), 1)).expand((*each.shape[:-1], 1))
        return each.gather(-1, index).squeeze(-1)

    def _log_density(self, value: Tensor) -> Tensor:
        terms = []
        for part in self.component_distributions:
            support = support_of(part)
            if bounds(support) in ((-math.inf, math.inf), None):
                terms.append(torch.as_tensor(part.log_prob(value)))
                continue
            there = holds(support, value)
            wide = there.reshape((*there.shape, *(1,) * len(self.event_shape)))
            usual = torch.where(wide, value, _within(support, value))
            terms.append(torch.where(there, part.log_prob(usual), -torch.inf))
        return torch.logsumexp(torch.stack(torch.broadcast_tensors(*terms), -1) + self.weights.log_softmax(-1), -1)


def _within(support: Any, value: Tensor) -> Tensor:
    """A value inside an interval, to stand for those outside."""
    low, high = (torch.as_tensor(end, dtype=value.dtype) for end in bounds(support) or (0.0, 1.0))
    middle = torch.where(torch.isinf(high), low + 1, torch.where(torch.isinf(low), high - 1, (low + high) / 2))
    return torch.floor(middle) if support.is_discrete else middle
