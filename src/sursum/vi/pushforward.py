"""Distributions of a guide's sites: draws in unconstrained coordinates, mapped to the support."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions import Delta


class PlacedDelta(Delta):
    """All mass at ``onto(free)``, the draw of a joint guide in one site's coordinates, with the Jacobian as density.

    Args:
        free: the unconstrained coordinates.
        value: the same point on the support.
        log_density: minus the log-Jacobian, of the site's batch shape.
        event_dim: how many rightmost dimensions make up one value.
    """

    def __init__(self, free: Tensor, value: Tensor, log_density: Tensor | float, event_dim: int) -> None:
        super().__init__(value, log_density, event_dim, validate_args=False)
        self.free = free

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_density if value is self.v else super().log_prob(value)


class Pushforward(Distribution):
    r"""The distribution of :math:`x = T(z)` for z ~ `base`: :math:`\log q(x) = \log q_{base}(z) - \log |\det J_T(z)|`.

    It caches its last draw, so that the density there needs no inverse and loses no digits.

    Args:
        base: a distribution in unconstrained coordinates.
        onto: the bijection T.
        event_shape: of x.

    Example:
        >>> import torch, sursum.distributions as dist
        >>> q = Pushforward(dist.Normal(0.0, 1.0), torch.distributions.transforms.ExpTransform(), torch.Size())
        >>> x = torch.tensor(2.0)
        >>> bool(torch.isclose(q.log_prob(x), dist.LogNormal(0.0, 1.0).log_prob(x)))
        True
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(self, base: Distribution, onto: Any, event_shape: torch.Size) -> None:
        self.base, self.onto = base, onto
        self.free: Tensor | None = None
        self.drawn: Tensor | None = None
        super().__init__(base.batch_shape, event_shape, validate_args=False)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Pushforward:
        return Pushforward(self.base.expand(torch.Size(batch_shape)), self.onto, self.event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        self.free = self.base.rsample(torch.Size(sample_shape))
        self.drawn = self.onto(self.free)
        return self.drawn

    def log_prob(self, value: Tensor) -> Tensor:
        free = self.free if value is self.drawn and self.free is not None else self.onto.inv(value)
        log_jacobian = self.onto.log_abs_det_jacobian(free, value)
        return self.base.log_prob(free) - sum_to(log_jacobian, free.dim() - len(self.base.event_shape))


def sum_to(term: Tensor, batch_dims: int) -> Tensor:
    """`term` summed over all but its `batch_dims` leftmost dimensions."""
    return term.sum(tuple(range(batch_dims, term.dim()))) if term.dim() > batch_dims else term
