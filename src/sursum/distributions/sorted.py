"""`Sorted`, draws in increasing order, and `InducedDirichlet`: proper priors of ordered vectors."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid

from sursum.distributions.constraints import Ordered, ordered
from sursum.distributions.family import Family
from sursum.distributions.standard import Dirichlet
from sursum.distributions.tails import log_one_minus_exp
from sursum.errors import DensityError, OptionError


class Sorted(Family):
    r"""`size` independent draws of a distribution, in increasing order.

    .. math:: p(x) = K! \prod_{k=1}^K p_{base}(x_k), \qquad x_1 < \dots < x_K

    It is the prior of a vector with ``constraint=constraints.ordered``; of a positive distribution, of one with
    ``constraints.positive_ordered``.

    Args:
        base_dist: a continuous distribution of numbers; its batch shape is that of the vectors.
        size: the number K of elements.

    Raises:
        DensityError: a distribution of counts, or of vectors.

    References:
        David, Nagaraja, Order Statistics (2003), section 2.2.

    Example:
        >>> import sursum.distributions as dist
        >>> Sorted(dist.Normal(0.0, 1.0), 2).log_prob(torch.tensor([-1.0, 1.0]))
        tensor(-2.1447)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    base_dist: Any

    def __init__(self, base_dist: Distribution, size: int, validate_args: bool | None = None) -> None:
        if base_dist.event_shape or base_dist.support is None or base_dist.support.is_discrete:
            raise DensityError(f"`Sorted` takes a continuous distribution of numbers, not {type(base_dist).__name__}.")
        if size < 1:
            raise OptionError(f"`Sorted` takes a size of at least 1, but got {size}.")
        self.size = int(size)
        self._keep((self.size,), validate_args, base_dist=base_dist)
        self.has_rsample = base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        elements: Any = self.base_dist.support
        return ordered if elements is constraints.real else Ordered(elements)

    def _copies(self) -> Any:
        return self.base_dist.expand(torch.Size([self.size, *self.batch_shape]))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = self._copies().rsample(torch.Size(sample_shape))
        return drawn.movedim(len(sample_shape), -1).sort(-1).values

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        drawn: Tensor = self._copies().sample(torch.Size(sample_shape))
        return drawn.movedim(len(sample_shape), -1).sort(-1).values

    def _log_density(self, value: Tensor) -> Tensor:
        batch = torch.Size([self.size, *self.batch_shape])
        terms = torch.as_tensor(self.base_dist.expand(batch).log_prob(self._first(value)))
        return terms.sum(value.dim() - 1 - len(self.batch_shape)) + math.lgamma(self.size + 1)

    def _first(self, value: Tensor) -> Tensor:
        """The elements left of the batch dimensions."""
        while value.dim() <= len(self.batch_shape):
            value = value.unsqueeze(0)
        return value.movedim(-1, value.dim() - 1 - len(self.batch_shape))


class InducedDirichlet(Family):
    r"""Cutpoints for which the probabilities of the K categories of an `OrderedLogistic` at η = `anchor` are Dirichlet.

    .. math:: \pi_k = \sigma(c_k - \eta) - \sigma(c_{k-1} - \eta) \sim \mathrm{Dirichlet}(\alpha)

    Args:
        concentration: α > 0, shape (…, K).
        anchor: η.

    Returns:
        Draws are increasing vectors of K − 1 numbers.

    References:
        Betancourt, Ordinal Regression (2019), section 2.2.

    Example:
        >>> InducedDirichlet(torch.ones(3)).log_prob(torch.tensor([-1.0, 1.0]))
        tensor(-2.5599)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration": constraints.independent(constraints.positive, 1),
        "anchor": constraints.real,
    }
    support = ordered
    has_rsample = True
    concentration: Tensor
    anchor: Tensor

    def __init__(self, concentration: Tensor, anchor: Tensor | float = 0.0, validate_args: bool | None = None) -> None:
        self._keep((concentration.shape[-1] - 1,), validate_args, concentration=concentration, anchor=anchor)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        probs = Dirichlet(self.concentration, validate_args=False).rsample(torch.Size(sample_shape))
        below, above = probs.cumsum(-1)[..., :-1], probs.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        return self.anchor.unsqueeze(-1) + below.log() - above.log()

    def _log_density(self, value: Tensor) -> Tensor:
        z = value - self.anchor.unsqueeze(-1)
        below, above = logsigmoid(z), logsigmoid(-z)
        first, last = below[..., :1], above[..., -1:]
        # σ(b) − σ(a) = σ(b) σ(−a) (1 − e^(a − b))
        between = below[..., 1:] + above[..., :-1] + log_one_minus_exp(z[..., :-1] - z[..., 1:])
        logs = torch.cat([first, between, last], -1)
        a = self.concentration
        norm = torch.lgamma(a.sum(-1)) - torch.lgamma(a).sum(-1)
        return norm + ((a - 1) * logs).sum(-1) + (below + above).sum(-1)
