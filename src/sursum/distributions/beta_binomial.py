"""`BetaBinomial`, `BetaNegativeBinomial`, `DirichletMultinomial`: counts whose probabilities are themselves random."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Multinomial, constraints

from sursum.common.torch_private import standard_gamma
from sursum.distributions.family import Family
from sursum.distributions.log_gamma import log_beta, log_choose, log_rising
from sursum.distributions.standard import Beta, Dirichlet


class BetaTrials(Family):
    """Successes in trials whose probability is Beta distributed."""

    concentration1: Tensor
    concentration0: Tensor
    total_count: Tensor

    def __init__(
        self,
        concentration1: Tensor | float,
        concentration0: Tensor | float,
        total_count: Tensor | int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, concentration1=concentration1, concentration0=concentration0, total_count=total_count)


class BetaBinomial(BetaTrials):
    r"""A binomial whose probability is Beta distributed.

    .. math:: p(x) = \binom{n}{x} \frac{B(x + a, n - x + b)}{B(a, b)}

    Args:
        concentration1: a > 0, of the successes.
        concentration0: b > 0, of the failures.
        total_count: the number n of trials.

    Example:
        >>> BetaBinomial(1.0, 1.0, 4).log_prob(torch.tensor(3.0)).exp()
        tensor(0.2000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "total_count": constraints.nonnegative_integer,
    }
    has_enumerate_support = True

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.mean * (self.concentration0 / total) * (total + self.total_count) / (total + 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        probs = Beta(self.concentration1, self.concentration0, validate_args=False).sample(torch.Size(sample_shape))
        return torch.binomial(self.total_count.expand(probs.shape).contiguous(), probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return count_up_to(self.total_count, self.batch_shape, expand)

    def _log_density(self, value: Tensor) -> Tensor:
        n, a, b = self.total_count, self.concentration1, self.concentration0
        return log_choose(n, value) + log_rising(a, value) + log_rising(b, n - value) - log_rising(a + b, n)


class BetaNegativeBinomial(Family):
    r"""A negative binomial whose probability is Beta distributed: x successes before n failures.

    .. math:: p(x) = \frac{\Gamma(n + x)}{\Gamma(n)\, x!} \frac{B(a + x, b + n)}{B(a, b)}

    Args:
        concentration1: a > 0, of the successes that are counted.
        concentration0: b > 0, of the failures.
        n: the number of failures, n > 0.

    Example:
        >>> BetaNegativeBinomial(1.0, 2.0, 1.0).log_prob(torch.tensor(0.0)).exp()
        tensor(0.6667)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
        "n": constraints.positive,
    }
    support = constraints.nonnegative_integer
    concentration1: Tensor
    concentration0: Tensor
    n: Tensor

    def __init__(
        self,
        concentration1: Tensor | float,
        concentration0: Tensor | float,
        n: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        self._keep((), validate_args, concentration1=concentration1, concentration0=concentration0, n=n)

    @property
    def mean(self) -> Tensor:
        b = self.concentration0
        return torch.where(b > 1, self.n * self.concentration1 / torch.where(b > 1, b - 1, 1.0), torch.inf)

    @property
    def variance(self) -> Tensor:
        a, b, n = self.concentration1, torch.where(self.concentration0 > 2, self.concentration0, 3.0), self.n
        found = n * (n + b - 1) * a * (a + b - 1) / ((b - 2) * (b - 1).square())
        return torch.where(self.concentration0 > 2, found, torch.inf)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        gammas = (standard_gamma(c.expand(self._extended_shape(shape)).contiguous()) for c in (
            self.concentration1, self.concentration0, self.n))  # fmt: skip
        more, less, rate = gammas
        return torch.poisson(rate * more / less)

    def _log_density(self, value: Tensor) -> Tensor:
        a, b, n = self.concentration1, self.concentration0, self.n
        beta = log_beta(a + value, b + n) - log_beta(a, b)
        return log_rising(n, value) - torch.lgamma(value + 1) + beta


class DirichletMultinomial(Family):
    r"""A multinomial whose probabilities are Dirichlet distributed.

    .. math:: p(x) = \frac{n!\; \Gamma(\sum_k a_k)}{\Gamma(n + \sum_k a_k)} \prod_k \frac{\Gamma(x_k + a_k)}{x_k!\; \Gamma(a_k)}

    Args:
        concentration: a > 0, shape (…, K).
        total_count: the number n of trials.

    Example:
        >>> DirichletMultinomial(torch.ones(2), 4).log_prob(torch.tensor([3.0, 1.0])).exp()
        tensor(0.2000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration": constraints.independent(constraints.positive, 1),
        "total_count": constraints.nonnegative_integer,
    }
    concentration: Tensor
    total_count: Tensor

    def __init__(self, concentration: Tensor, total_count: Tensor | int = 1, validate_args: bool | None = None) -> None:
        self._keep(tuple(concentration.shape[-1:]), validate_args, concentration=concentration, total_count=total_count)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count.unsqueeze(-1) * self._shares()

    @property
    def variance(self) -> Tensor:
        n, total = self.total_count.unsqueeze(-1), self.concentration.sum(-1, keepdim=True)
        return n * self._shares() * (1 - self._shares()) * (n + total) / (1 + total)

    def _shares(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        probs = Dirichlet(self.concentration, validate_args=False).sample(torch.Size(sample_shape))
        count = self.total_count.expand(probs.shape[:-1])
        if probs.numel() == 0:
            return probs
        if bool((self.total_count == self.total_count.flatten()[0]).all()):
            drawn: Tensor = Multinomial(int(count.flatten()[0]), probs, validate_args=False).sample()
            return drawn
        rest, left, found = count.clone(), torch.ones_like(count), []
        for share in probs.unbind(-1)[:-1]:  # one category after another, of what is left
            taken = torch.binomial(rest, (share / left.clamp(min=torch.finfo(share.dtype).tiny)).clamp(0, 1))
            found.append(taken)
            rest, left = rest - taken, left - share
        return torch.stack([*found, rest], -1)

    def _log_density(self, value: Tensor) -> Tensor:
        n, a = self.total_count, self.concentration
        terms = log_rising(a, value) - torch.lgamma(value + 1)
        return torch.lgamma(n + 1) - log_rising(a.sum(-1), n) + terms.sum(-1)


def count_up_to(total: Tensor, batch: torch.Size, expand: bool) -> Tensor:
    """The numbers from 0 to a common total, along a new leftmost dimension.

    Raises:
        NotImplementedError: totals that differ.
    """
    most = int(total.max())
    if not bool((total == most).all()):
        raise NotImplementedError("the supports of a batch with different total counts cannot be enumerated")
    found = torch.arange(most + 1, dtype=total.dtype, device=total.device).reshape(-1, *(1,) * len(batch))
    return found.expand(-1, *batch) if expand else found
