"""torch's own distributions, each with the methods of `Fluent`. Mathematics, arguments and errors are torch's.

A few densities are reimplemented: where torch's overflow or lose digits at extreme probabilities, or reject integers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import logsigmoid

from sursum.common.torch_private import sample_dirichlet
from sursum.distributions.complement import complement
from sursum.distributions.concentrated import log_beta_density, log_dirichlet_density, log_f_density
from sursum.distributions.family import as_floating
from sursum.distributions.fluent import Fluent
from sursum.distributions.log_bessel import log_i0e
from sursum.distributions.log_gamma import log_beta
from sursum.distributions.logits import Logs, LogsOfCategorical, Odds, pick
from sursum.distributions.outside_modes import outside_modes
from sursum.distributions.tails import finite_exp


class _OfIntegers(td.Distribution):
    """Mixin of those whose formulas lose digits of integers."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(as_floating(value, self))


class _OfCategories(td.Distribution):
    """Mixin of those drawn by `torch.multinomial`, which refuses to draw none."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        if 0 in shape:
            logits: Tensor = self.logits  # type: ignore[attr-defined]
            return torch.empty(shape, dtype=logits.dtype if self.event_shape else torch.int64, device=logits.device)
        drawn: Tensor = super().sample(torch.Size(sample_shape))
        return drawn


class Bernoulli(Fluent, Odds, td.Bernoulli):
    """`torch.distributions.Bernoulli`; its values may be integers."""

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = super().log_prob(value if value.is_floating_point() else value.to(self.logits.dtype))
        return log_prob


class Beta(Fluent, td.Beta):
    """`torch.distributions.Beta`, whose density in torch has no digits where the concentrations are large."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        x = as_floating(value, self)
        return log_beta_density(self.concentration1, self.concentration0, x, complement(x))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return _shares(self._dirichlet, sample_shape).select(-1, 0)


class Binomial(Fluent, Odds, _OfIntegers, td.Binomial):
    """`torch.distributions.Binomial`."""


class Categorical(Fluent, Logs, _OfCategories, td.Categorical):
    """`torch.distributions.Categorical`."""


@outside_modes
class Cauchy(Fluent, td.Cauchy):
    """`torch.distributions.Cauchy`."""


class Chi2(Fluent, td.Chi2):
    """`torch.distributions.Chi2`."""


class ContinuousBernoulli(Fluent, td.ContinuousBernoulli):
    """`torch.distributions.ContinuousBernoulli`."""

    def _cont_bern_log_norm(self) -> Tensor:
        r""":math:`\log (l / \tanh(l / 2))` for the logits l; near 0 by its series."""
        half = self.logits.abs() / 2
        near = half < 0.02
        square = half.square()
        series = square * (1 / 3 - square * (7 / 90 - square * 62 / 2835))
        away = torch.where(near, torch.ones_like(half), half)
        return math.log(2) + torch.where(near, series, away.log() - away.tanh().log())


class Dirichlet(Fluent, td.Dirichlet):
    """`torch.distributions.Dirichlet`, whose density in torch has no digits where the concentrations are large."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return log_dirichlet_density(self.concentration, as_floating(value, self))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return _shares(self, sample_shape)


def _shares(fn: td.Dirichlet, sample_shape: Any) -> Tensor:
    """torch's draw. Where nobody asks for a gradient without the function that has one, which `torch.vmap` cannot map."""
    shape = torch.Size(sample_shape)
    if torch.is_grad_enabled() and fn.concentration.requires_grad:
        drawn: Tensor = td.Dirichlet.rsample(fn, shape)
        return drawn
    return sample_dirichlet(fn.concentration.expand(shape + fn.batch_shape + fn.event_shape))


@outside_modes
class Exponential(Fluent, td.Exponential):
    """`torch.distributions.Exponential`."""


class FisherSnedecor(Fluent, td.FisherSnedecor):
    """`torch.distributions.FisherSnedecor`, whose density in torch has no digits of many degrees of freedom."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return log_f_density(self.df1 / 2, self.df2 / 2, as_floating(value, self))


@outside_modes
class Gamma(Fluent, td.Gamma):
    """`torch.distributions.Gamma`."""


class GeneralizedPareto(Fluent, td.GeneralizedPareto):
    r"""`torch.distributions.GeneralizedPareto`, whose density torch computes in its default dtype only.

    .. math:: \log p(x) = -\log σ - (1 + 1/ξ) \log(1 + ξ z), \qquad z = (x - μ) / σ, \qquad -\log σ - z \text{ at } ξ = 0
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        log_prob: Tensor = self.log_survival_function(value) - torch.log1p(self.concentration * z) - self.scale.log()
        return log_prob

    def log_survival_function(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero = torch.isclose(self.concentration, torch.zeros_like(self.concentration))
        shape = torch.where(zero, torch.ones_like(self.concentration), self.concentration)
        return torch.where(zero, -z, -torch.log1p(torch.where(zero, torch.zeros_like(z), shape * z)) / shape)


class Geometric(Fluent, Odds, td.Geometric):
    r"""`torch.distributions.Geometric`, whose density in torch branches on the probability.

    .. math:: \log p(x) = x \log(1 - p) + \log p
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        if "logits" in vars(self):
            return value * logsigmoid(-self.logits) + logsigmoid(self.logits)
        sure = (self.probs == 1) & (value == 0)
        log_prob: Tensor = value * torch.log1p(-torch.where(sure, 0.0, self.probs)) + self.probs.log()
        return log_prob


class Gumbel(Fluent, td.Gumbel):
    """`torch.distributions.Gumbel`."""


@outside_modes
class HalfCauchy(Fluent, td.HalfCauchy):
    """`torch.distributions.HalfCauchy`."""


@outside_modes
class HalfNormal(Fluent, td.HalfNormal):
    """`torch.distributions.HalfNormal`."""


class InverseGamma(Fluent, td.InverseGamma):
    """`torch.distributions.InverseGamma`."""


class Kumaraswamy(Fluent, td.Kumaraswamy):
    r"""`torch.distributions.Kumaraswamy`, whose density in torch is 0 where :math:`x^a` has no digits next to 1.

    .. math:: \log p(x) = \log a + \log b + (a - 1) \log x + (b - 1) \log(1 - x^a)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b, log_x = self.concentration1, self.concentration0, torch.log(value)
        log_prob: Tensor = a.log() + b.log() + (a - 1) * log_x + (b - 1) * torch.log(-torch.expm1(a * log_x))
        return log_prob


@outside_modes
class Laplace(Fluent, td.Laplace):
    """`torch.distributions.Laplace`."""


class LogNormal(Fluent, _OfIntegers, td.LogNormal):
    """`torch.distributions.LogNormal`."""


class LogisticNormal(Fluent, td.LogisticNormal):
    """`torch.distributions.LogisticNormal`."""


class LowRankMultivariateNormal(Fluent, td.LowRankMultivariateNormal):
    """`torch.distributions.LowRankMultivariateNormal`."""


class MixtureSameFamily(Fluent, td.MixtureSameFamily):
    """`torch.distributions.MixtureSameFamily`."""


class Multinomial(Fluent, LogsOfCategorical, _OfCategories, td.Multinomial):
    """`torch.distributions.Multinomial`."""


class MultivariateNormal(Fluent, td.MultivariateNormal):
    """`torch.distributions.MultivariateNormal`."""


class NegativeBinomial(Fluent, Odds, _OfIntegers, td.NegativeBinomial):
    """`torch.distributions.NegativeBinomial`."""


@outside_modes
class Normal(Fluent, td.Normal):
    """`torch.distributions.Normal`."""


class _OneHot(LogsOfCategorical, _OfCategories):
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return pick(self.logits, value.argmax(-1))


class OneHotCategorical(Fluent, _OneHot, td.OneHotCategorical):
    """`torch.distributions.OneHotCategorical`."""


class OneHotCategoricalStraightThrough(Fluent, _OneHot, td.OneHotCategoricalStraightThrough):
    """`torch.distributions.OneHotCategoricalStraightThrough`."""


class Pareto(Fluent, td.Pareto):
    """`torch.distributions.Pareto`."""


@outside_modes
class Poisson(Fluent, _OfIntegers, td.Poisson):
    """`torch.distributions.Poisson`."""


class RelaxedBernoulli(Fluent, td.RelaxedBernoulli):
    """`torch.distributions.RelaxedBernoulli`."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inner = self.transforms[0].inv(value)
        away = self.logits - self.temperature * inner
        terms = logsigmoid(away) + logsigmoid(-away) - logsigmoid(inner) - logsigmoid(-inner)
        return self.temperature.log() + terms


class RelaxedOneHotCategorical(Fluent, td.RelaxedOneHotCategorical):
    """`torch.distributions.RelaxedOneHotCategorical`."""


@outside_modes
class StudentT(Fluent, td.StudentT):
    r"""`torch.distributions.StudentT`, whose density in torch loses its digits to those of large degrees of freedom.

    .. math:: \log p(x) = -\tfrac{\nu + 1}{2} \log(1 + z^2 / \nu) - \log B(\nu / 2, \tfrac12) - \tfrac12 \log \nu - \log s
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.loc) / self.scale
        half = self.df / 2
        norm = log_beta(half, torch.full_like(half, 0.5)) + self.df.log() / 2 + self.scale.log()
        return -(half + 0.5) * torch.log1p(z.square() / self.df) - norm


class TransformedDistribution(Fluent, td.TransformedDistribution):
    """`torch.distributions.TransformedDistribution`."""


class Uniform(Fluent, td.Uniform):
    """`torch.distributions.Uniform`."""


class VonMises(Fluent, td.VonMises):
    r"""`torch.distributions.VonMises`, drawn by a fixed number of proposals, which `torch.vmap` can map.

    torch's density has seven digits, and none of large concentrations.

    .. math:: \log p(x) = -2 \kappa \sin^2 \frac{x - \mu}{2} - \log 2 \pi - \log e^{-\kappa} I_0(\kappa)

    References:
        Best, Fisher (1979), Efficient simulation of the von Mises distribution: at least 0.65 of the proposals are accepted, so
        that none of 27 is in one of 10¹² draws.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        sine = torch.sin((value - self.loc) / 2)
        return -2 * self.concentration * sine.square() - math.log(2 * math.pi) - log_i0e(self.concentration)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        kappa = self.concentration.double().clamp(min=1e-100)
        length = torch.hypot(torch.ones_like(kappa), 2 * kappa)
        # r − 1 and 1 − cos x without their differences: they are small where the concentration is large.
        rho = (1 + length - torch.sqrt(2 + 2 * length)) / (2 * kappa)
        gap = (torch.sqrt(2 + 2 * length) - 1 - 1 / (2 * kappa + length)) / (2 * kappa)
        more = torch.where(kappa < 1e-5, 1 / kappa - 1, gap.square() / (2 * rho))
        found = torch.zeros(shape, dtype=torch.float64, device=kappa.device)
        done = torch.zeros(shape, dtype=torch.bool, device=kappa.device)
        for _ in range(3):
            turn, level, side = torch.rand((3, 9, *shape), dtype=torch.float64, device=kappa.device)
            across = 2 * torch.sin(math.pi / 2 * turn).square()  # 1 − z, where z is the cosine of a wrapped Cauchy's angle
            less = more * across / (2 + more - across)
            c = kappa * (more + less)
            accepted = (c * (2 - c) > level) | (torch.log(c / level) + 1 - c >= 0)
            angle = torch.where(side < 0.5, -1.0, 1.0) * 2 * torch.asin(torch.sqrt(less / 2).clamp(max=1.0))
            first = accepted.to(torch.uint8).argmax(0, keepdim=True)
            found = torch.where(done, found, angle.gather(0, first).squeeze(0))
            done = done | accepted.any(0)
        return ((found + math.pi + self.loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)


class Weibull(Fluent, td.Weibull):
    r"""`torch.distributions.Weibull`, whose density in torch is 0 where :math:`(x / s)^k` underflows.

    .. math:: \log p(x) = \log k - \log s + (k - 1) \log(x / s) - (x / s)^k
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k, log_size = self.concentration, torch.log(value) - torch.log(self.scale)
        log_prob: Tensor = torch.log(k) - torch.log(self.scale) + (k - 1) * log_size - finite_exp(k * log_size)
        return log_prob
