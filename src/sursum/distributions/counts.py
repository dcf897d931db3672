"""Counts of other shapes: `GeneralizedPoisson`, `DiscreteWeibull`, `Hypergeometric`, `YuleSimon`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum.distributions.family import Family, uniform
from sursum.distributions.log_gamma import log_beta, log_choose
from sursum.distributions.tails import finite_exp, log_one_minus_exp, log_one_minus_exp_exp


class GeneralizedPoisson(Family):
    r"""Counts with less or more variance than a Poisson has:

    .. math:: p(x) = \frac{\mu (\mu + \lambda x)^{x - 1}}{x!} e^{-\mu - \lambda x}, \qquad
        E x = \frac{\mu}{1 - \lambda}, \quad \operatorname{Var} x = \frac{\mu}{(1 - \lambda)^3}

    Args:
        rate: μ > 0.
        dispersion: λ, from 0 (a Poisson) to below 1.

    References:
        Consul, Jain (1973), A generalization of the Poisson distribution.

    Example:
        >>> GeneralizedPoisson(1.0, 0.0).log_prob(torch.tensor(2.0)).exp()
        tensor(0.1839)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "rate": constraints.positive,
        "dispersion": constraints.half_open_interval(0, 1),
    }
    support = constraints.nonnegative_integer
    rate: Tensor
    dispersion: Tensor

    def __init__(self, rate: Tensor | float, dispersion: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, rate=rate, dispersion=dispersion)

    @property
    def mean(self) -> Tensor:
        return self.rate / (1 - self.dispersion)

    @property
    def variance(self) -> Tensor:
        return self.rate / (1 - self.dispersion) ** 3

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        # A branching process: Poisson many, each of which has Poisson(λ) many more.
        last = torch.poisson(self.rate.expand(shape))
        total = last
        while bool((last > 0).any()):
            last = torch.poisson(self.dispersion * last)
            total = total + last
        return total

    def _log_density(self, value: Tensor) -> Tensor:
        mean = self.rate + self.dispersion * value
        return self.rate.log() + (value - 1) * mean.log() - mean - torch.lgamma(value + 1)


class DiscreteWeibull(Family):
    r"""A Weibull rounded down: :math:`P(X \ge x) = q^{x^\beta}`.

    Args:
        q: the probability that x is not 0, in (0, 1).
        beta: β > 0; 1 gives the geometric distribution.

    References:
        Nakagawa, Osaki (1975), The discrete Weibull distribution.

    Example:
        >>> DiscreteWeibull(0.5, 1.0).log_prob(torch.tensor(1.0)).exp()
        tensor(0.2500)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"q": constraints.unit_interval, "beta": constraints.positive}
    support = constraints.nonnegative_integer
    q: Tensor
    beta: Tensor

    def __init__(self, q: Tensor | float, beta: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, q=q, beta=beta)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        u = uniform(self.q, self._extended_shape(torch.Size(sample_shape)))
        return torch.floor((u.log() / self.q.log()) ** (1 / self.beta))

    def _log_density(self, value: Tensor) -> Tensor:
        # With logarithms of the powers, which overflow, and of what lies between two of them, which has no digits otherwise.
        zero = value == 0
        log_rate, x = torch.log(-torch.log(self.q)), torch.where(zero, 1.0, value)
        start, step = self.beta * torch.log(x), self.beta * torch.log1p(1 / x)
        far = step > 40.0
        growth = start + torch.where(far, step, torch.log(torch.expm1(torch.where(far, 1.0, step))))
        before = torch.where(zero, 0.0, -finite_exp(log_rate + torch.where(zero, 0.0, start)))
        return before + log_one_minus_exp_exp(log_rate + torch.where(zero, 0.0, growth))


class Hypergeometric(Family):
    r"""How many of n that are drawn without replacement from N are among the K that are marked:

    .. math:: p(x) = \binom{K}{x} \binom{N - K}{n - x} \Big/ \binom{N}{n}

    Args:
        total: N.
        marked: K.
        drawn: n.

    Example:
        >>> Hypergeometric(10, 4, 3).log_prob(torch.tensor(1.0)).exp()
        tensor(0.5000)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "total": constraints.nonnegative_integer,
        "marked": constraints.nonnegative_integer,
        "drawn": constraints.nonnegative_integer,
    }
    total: Tensor
    marked: Tensor
    drawn: Tensor

    def __init__(
        self, total: Tensor | int, marked: Tensor | int, drawn: Tensor | int, validate_args: bool | None = None
    ) -> None:
        self._keep((), validate_args, total=total, marked=marked, drawn=drawn)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        low = torch.clamp(self.drawn + self.marked - self.total, min=0)
        return constraints.integer_interval(low, torch.minimum(self.drawn, self.marked))

    @property
    def mean(self) -> Tensor:
        return self.drawn * self.marked / self.total

    @property
    def variance(self) -> Tensor:
        share = self.marked / self.total
        return self.drawn * share * (1 - share) * (self.total - self.drawn) / (self.total - 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        found, left = torch.zeros(shape, dtype=self.total.dtype), self.total.expand(shape).clone()
        for k in range(int(self.drawn.max()) if shape.numel() else 0):  # one after another
            hit = (torch.rand_like(found) * left < self.marked - found) & (k < self.drawn)
            found, left = found + hit, left - 1
        return found

    def _log_density(self, value: Tensor) -> Tensor:
        rest = self.total - self.marked
        return log_choose(self.marked, value) + log_choose(rest, self.drawn - value) - log_choose(self.total, self.drawn)


class YuleSimon(Family):
    r"""Counts from 1 with a heavy tail: :math:`p(x) = \rho\, B(x, \rho + 1)`, x = 1, 2, …

    Args:
        rho: ρ > 0.

    Example:
        >>> YuleSimon(2.0).log_prob(torch.tensor(1.0)).exp()
        tensor(0.6667)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"rho": constraints.positive}
    support = constraints.positive_integer
    rho: Tensor

    def __init__(self, rho: Tensor | float, validate_args: bool | None = None) -> None:
        self._keep((), validate_args, rho=rho)

    @property
    def mean(self) -> Tensor:
        return torch.where(self.rho > 1, self.rho / torch.where(self.rho > 1, self.rho - 1, 1.0), torch.inf)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        log_share = uniform(self.rho, shape).log() / self.rho  # of the success, in a geometric distribution
        return torch.ceil(uniform(self.rho, shape).log() / log_one_minus_exp(log_share)).clamp(min=1)

    def _log_density(self, value: Tensor) -> Tensor:
        return self.rho.log() + log_beta(value, self.rho + 1)
