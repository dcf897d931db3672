"""torch's own distributions, each with the methods of `Fluent`. Mathematics, arguments and errors are torch's.

A few densities are reimplemented: where torch's overflow or lose digits at extreme probabilities, or reject integers.
"""

from __future__ import annotations

import math

import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import logsigmoid

from sursum.distributions.complement import complement
from sursum.distributions.fluent import Fluent


class Bernoulli(Fluent, td.Bernoulli):
    """`torch.distributions.Bernoulli`; its values may be integers."""

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob: Tensor = super().log_prob(value if value.is_floating_point() else value.to(self.logits.dtype))
        return log_prob


class Beta(Fluent, td.Beta):
    """`torch.distributions.Beta`."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_prob: Tensor = self._dirichlet.log_prob(torch.stack([value, complement(value)], -1))
        return log_prob


class Binomial(Fluent, td.Binomial):
    """`torch.distributions.Binomial`."""


class Categorical(Fluent, td.Categorical):
    """`torch.distributions.Categorical`."""


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
    """`torch.distributions.Dirichlet`."""


class Exponential(Fluent, td.Exponential):
    """`torch.distributions.Exponential`."""


class FisherSnedecor(Fluent, td.FisherSnedecor):
    """`torch.distributions.FisherSnedecor`."""


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


class Geometric(Fluent, td.Geometric):
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


class HalfCauchy(Fluent, td.HalfCauchy):
    """`torch.distributions.HalfCauchy`."""


class HalfNormal(Fluent, td.HalfNormal):
    """`torch.distributions.HalfNormal`."""


class InverseGamma(Fluent, td.InverseGamma):
    """`torch.distributions.InverseGamma`."""


class Kumaraswamy(Fluent, td.Kumaraswamy):
    """`torch.distributions.Kumaraswamy`."""


class Laplace(Fluent, td.Laplace):
    """`torch.distributions.Laplace`."""


class LogNormal(Fluent, td.LogNormal):
    """`torch.distributions.LogNormal`."""


class LogisticNormal(Fluent, td.LogisticNormal):
    """`torch.distributions.LogisticNormal`."""


class LowRankMultivariateNormal(Fluent, td.LowRankMultivariateNormal):
    """`torch.distributions.LowRankMultivariateNormal`."""


class MixtureSameFamily(Fluent, td.MixtureSameFamily):
    """`torch.distributions.MixtureSameFamily`."""


class Multinomial(Fluent, td.Multinomial):
    """`torch.distributions.Multinomial`."""


class MultivariateNormal(Fluent, td.MultivariateNormal):
    """`torch.distributions.MultivariateNormal`."""


class NegativeBinomial(Fluent, td.NegativeBinomial):
    """`torch.distributions.NegativeBinomial`."""


class Normal(Fluent, td.Normal):
    """`torch.distributions.Normal`."""


class OneHotCategorical(Fluent, td.OneHotCategorical):
    """`torch.distributions.OneHotCategorical`."""


class OneHotCategoricalStraightThrough(Fluent, td.OneHotCategoricalStraightThrough):
    """`torch.distributions.OneHotCategoricalStraightThrough`."""


class Pareto(Fluent, td.Pareto):
    """`torch.distributions.Pareto`."""


class Poisson(Fluent, td.Poisson):
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


class StudentT(Fluent, td.StudentT):
    """`torch.distributions.StudentT`."""


class TransformedDistribution(Fluent, td.TransformedDistribution):
    """`torch.distributions.TransformedDistribution`."""


class Uniform(Fluent, td.Uniform):
    """`torch.distributions.Uniform`."""


class VonMises(Fluent, td.VonMises):
    """`torch.distributions.VonMises`."""


class Weibull(Fluent, td.Weibull):
    """`torch.distributions.Weibull`."""
