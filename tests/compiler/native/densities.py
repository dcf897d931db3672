"""Programs on which the native engine is tried whole: every distribution, every constraint, small networks.

`DISTRIBUTIONS` has a row for everything in `sursum.distributions` that can be scored: how many unknowns its arguments
take, the distribution as a function of them, a value to observe (None: only as a latent site). The arguments of all
depend on the unknowns. `CONSTRAINTS` has a support for every constraint that `bijection` maps onto.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from tests.distributions.supports import SUPPORTS
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints, transforms

D = torch.float64
Make = Callable[[Tensor], Any]


def tensor(*numbers: float) -> Tensor:
    """Numbers in double."""
    return torch.tensor(numbers, dtype=D)


def simplex(t: Tensor) -> Tensor:
    """Probabilities from logits."""
    return t.softmax(-1)


def factor(t: Tensor, n: int) -> Tensor:
    """A lower triangle with a positive diagonal from n·n numbers."""
    square = t.reshape(n, n)
    return square.tril(-1) + torch.diag_embed(square.diagonal().exp())


def definite(t: Tensor, n: int) -> Tensor:
    """A positive definite matrix from n·n numbers."""
    lower = factor(t, n)
    return lower @ lower.mT


COUNTS = tensor(0, 3, 7)
BITS = tensor(0, 1, 1)
REALS = tensor(-1.2, 0.3, 2.5)
POSITIVES = tensor(0.2, 1.1, 3.4)
UNITS = tensor(0.1, 0.5, 0.93)
CORRELATIONS = torch.linalg.cholesky(torch.tensor([[1.0, 0.3, -0.2], [0.3, 1.0, 0.5], [-0.2, 0.5, 1.0]], dtype=D))
MATRIX = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.5, -0.4], [0.1, -0.4, 1.0]], dtype=D)

DISTRIBUTIONS: dict[str, tuple[int, Make, Tensor | None]] = {
    "Bernoulli": (3, lambda t: dist.Bernoulli(t.sigmoid()), BITS),
    "Bernoulli of logits": (3, lambda t: dist.Bernoulli(logits=t), BITS),
    "Beta": (6, lambda t: dist.Beta(t[:3].exp(), t[3:].exp()), UNITS),
    "Binomial": (3, lambda t: dist.Binomial(tensor(4, 3, 12), t.sigmoid()), COUNTS),
    "Binomial of logits": (3, lambda t: dist.Binomial(12, logits=t), COUNTS),
    "Categorical": (12, lambda t: dist.Categorical(simplex(t.reshape(3, 4))), torch.tensor([0, 3, 1])),
    "Categorical of logits": (12, lambda t: dist.Categorical(logits=t.reshape(3, 4)), torch.tensor([0, 3, 1])),
    "Cauchy": (6, lambda t: dist.Cauchy(t[:3], t[3:].exp()), REALS),
    "Chi2": (3, lambda t: dist.Chi2(t.exp()), POSITIVES),
    "ContinuousBernoulli": (3, lambda t: dist.ContinuousBernoulli(t.sigmoid()), UNITS),
    "ContinuousBernoulli of logits": (3, lambda t: dist.ContinuousBernoulli(logits=t), UNITS),
    "Delta": (3, lambda t: dist.Delta(REALS, log_density=t), REALS),
    "Dirichlet": (3, lambda t: dist.Dirichlet(t.exp()), tensor(0.2, 0.5, 0.3)),
    "Dirichlet, a batch": (6, lambda t: dist.Dirichlet(t.reshape(2, 3).exp()), tensor(0.2, 0.5, 0.3).expand(2, 3)),
    "Exponential": (3, lambda t: dist.Exponential(t.exp()), POSITIVES),
    "FisherSnedecor": (6, lambda t: dist.FisherSnedecor(t[:3].exp(), t[3:].exp()), POSITIVES),
    "Gamma": (6, lambda t: dist.Gamma(t[:3].exp(), t[3:].exp()), POSITIVES),
    # In single precision: torch's own compares the concentration with a number of the default dtype.
    "GeneralizedPareto": (
        9, lambda t: dist.GeneralizedPareto(t[:3].float() - 9, t[3:6].float().exp(), t[6:].float().exp()), POSITIVES.float()),
    "Geometric": (3, lambda t: dist.Geometric(t.sigmoid()), COUNTS),
    "Geometric of logits": (3, lambda t: dist.Geometric(logits=t), COUNTS),
    "Gumbel": (6, lambda t: dist.Gumbel(t[:3], t[3:].exp()), REALS),
    "HalfCauchy": (3, lambda t: dist.HalfCauchy(t.exp()), POSITIVES),
    "HalfNormal": (3, lambda t: dist.HalfNormal(t.exp()), POSITIVES),
    "ImproperUniform": (2, lambda t: dist.ImproperUniform(constraints.interval(t, t + t.exp()), (2,)), None),
    "Independent": (4, lambda t: dist.Normal(t[:2], t[2:].exp()).to_event(1), tensor(0.3, 2.0)),
    "InverseGamma": (6, lambda t: dist.InverseGamma(t[:3].exp(), t[3:].exp()), POSITIVES),
    "Kumaraswamy": (6, lambda t: dist.Kumaraswamy(t[:3].exp(), t[3:].exp()), UNITS),
    "LKJCholesky": (1, lambda t: dist.LKJCholesky(3, t[0].exp()), CORRELATIONS),
    "Laplace": (6, lambda t: dist.Laplace(t[:3], t[3:].exp()), REALS),
    "LogNormal": (6, lambda t: dist.LogNormal(t[:3], t[3:].exp()), POSITIVES),
    "LogisticNormal": (4, lambda t: dist.LogisticNormal(t[:2], t[2:].exp()), tensor(0.2, 0.5, 0.3)),
    "LowRankMultivariateNormal": (
        12, lambda t: dist.LowRankMultivariateNormal(t[:3], t[3:9].reshape(3, 2), t[9:].exp()), REALS),
    "Masked": (3, lambda t: dist.Normal(t, 1.0).mask(torch.tensor([True, False, True])), REALS),
    "MixtureSameFamily": (
        9, lambda t: dist.MixtureSameFamily(dist.Categorical(logits=t[:3]), dist.Normal(t[3:6], t[6:].exp())), tensor(0.3, -2.0)),
    "Mixture of vectors": (
        8, lambda t: dist.MixtureSameFamily(
            dist.Categorical(simplex(t[:2])), dist.Normal(t[2:8].reshape(2, 3), 1.0).to_event(1)), REALS),
    "Multinomial": (3, lambda t: dist.Multinomial(10, simplex(t)), COUNTS),
    "Multinomial of logits": (3, lambda t: dist.Multinomial(10, logits=t), COUNTS),
    "MultivariateNormal of a covariance": (12, lambda t: dist.MultivariateNormal(t[:3], definite(t[3:], 3)), REALS),
    "MultivariateNormal of a precision": (
        12, lambda t: dist.MultivariateNormal(t[:3], precision_matrix=definite(t[3:], 3)), REALS),
    "MultivariateNormal of a factor": (
        12, lambda t: dist.MultivariateNormal(t[:3], scale_tril=factor(t[3:], 3)), torch.stack([REALS, -REALS])),
    "NegativeBinomial": (6, lambda t: dist.NegativeBinomial(t[:3].exp(), t[3:].sigmoid()), COUNTS),
    "NegativeBinomial of logits": (6, lambda t: dist.NegativeBinomial(t[:3].exp(), logits=t[3:]), COUNTS),
    "Normal": (6, lambda t: dist.Normal(t[:3], t[3:].exp()), REALS),
    "OneHotCategorical": (3, lambda t: dist.OneHotCategorical(simplex(t)), tensor(0, 1, 0)),
    "OneHotCategorical of logits": (3, lambda t: dist.OneHotCategorical(logits=t), tensor(0, 1, 0)),
    "OneHotCategoricalStraightThrough": (3, lambda t: dist.OneHotCategoricalStraightThrough(logits=t), tensor(1, 0, 0)),
    "Pareto": (6, lambda t: dist.Pareto((t[:3] - 3).exp(), t[3:].exp()), POSITIVES + 1),
    "Poisson": (3, lambda t: dist.Poisson(t.exp()), COUNTS),
    "RelaxedBernoulli": (4, lambda t: dist.RelaxedBernoulli(t[0].exp(), logits=t[1:]), UNITS),
    "RelaxedOneHotCategorical": (4, lambda t: dist.RelaxedOneHotCategorical(t[0].exp(), logits=t[1:]), tensor(0.2, 0.5, 0.3)),
    "StudentT": (9, lambda t: dist.StudentT(t[:3].exp(), t[3:6], t[6:].exp()), REALS),
    "TransformedDistribution": (
        4, lambda t: dist.TransformedDistribution(
            dist.Normal(t[:2], t[2:].exp()), [transforms.SigmoidTransform(), transforms.AffineTransform(1.0, t[2:].exp())]),
        tensor(1.001, 1.01)),
    "Transformed by powers": (
        4, lambda t: dist.TransformedDistribution(
            dist.Normal(t[:2], t[2:].exp()), [transforms.ExpTransform(), transforms.PowerTransform(tensor(2.0))]), tensor(0.5, 2.0)),
    "Transformed by tanh": (
        4, lambda t: dist.TransformedDistribution(
            dist.Normal(t[:2], t[2:].exp()), [transforms.TanhTransform(), transforms.AffineTransform(1.0, 2.0)]), tensor(0.5, 2.0)),
    "Uniform": (2, lambda t: dist.Uniform(-t[:1].exp() - 2, t[1:].exp() + 3), REALS),
    "VonMises": (6, lambda t: dist.VonMises(t[:3], t[3:].exp()), REALS),
    "Weibull": (6, lambda t: dist.Weibull(t[:3].exp(), t[3:].exp()), POSITIVES),
    "Wishart of a covariance": (10, lambda t: dist.Wishart(t[0].exp() + 3, definite(t[1:], 3)), MATRIX),
    "Wishart of a precision": (10, lambda t: dist.Wishart(t[0].exp() + 3, precision_matrix=definite(t[1:], 3)), MATRIX),
    "Wishart of a factor": (10, lambda t: dist.Wishart(t[0].exp() + 3, scale_tril=factor(t[1:], 3)), MATRIX),
}  # fmt: skip

CONSTRAINTS: dict[str, tuple[Any, tuple[int, ...]]] = {
    **{name: (support, shape) for name, (support, shape, _) in SUPPORTS.items()},
    "sphere": (constraints.sphere, (3,)),
}


def continuous(name: str) -> bool:
    """Whether a distribution can be that of an unknown."""
    count, make, _ = DISTRIBUTIONS[name]
    example = make(torch.zeros(count, dtype=D))
    return not example.support.is_discrete and not isinstance(example, dist.Delta)


def unknowns(count: int) -> Tensor:
    """A site of so many numbers."""
    theta: Tensor = su.sample("theta", dist.Normal(torch.zeros(count, dtype=D), 1.0).to_event(1))
    return theta


def observed(name: str) -> Callable[[], None]:
    """A program that observes a distribution of which the arguments are unknown."""
    count, make, value = DISTRIBUTIONS[name]
    return lambda: su.sample("y", make(unknowns(count)), obs=value)


def latent(name: str) -> Callable[[], None]:
    """A program that draws from a distribution of which the arguments are unknown."""
    count, make, _ = DISTRIBUTIONS[name]
    return lambda: su.sample("y", make(unknowns(count)))


def constrained(name: str) -> Callable[[], None]:
    """A program with a site on a support, every element of which is observed with noise."""
    support, shape = CONSTRAINTS[name]
    data = torch.linspace(-1.0, 2.0, math.prod(shape), dtype=D).reshape(shape)

    def program() -> None:
        x = su.sample("x", dist.ImproperUniform(support, shape))
        su.sample("y", dist.Normal(x, 2.0), obs=data)

    return program


class Recurrent(nn.Module):
    """A recurrent network of one layer and a readout of its last state."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell, self.out = kind(2, 3, batch_first=True), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    """Self-attention with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x + self.attention(x, x, x, need_weights=False)[0])).mean(1)


class Causal(nn.Module):
    """Scaled dot products under a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x), is_causal=True).sum(-1)


def mlp(activation: nn.Module) -> nn.Module:
    """Three inputs, one hidden layer of four, one output."""
    return nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 1))


def _inputs(*shape: int) -> Tensor:
    return torch.linspace(-1.5, 2.0, math.prod(shape), dtype=D).sin().reshape(shape)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    **{
        f"MLP with {activation.__name__}": (lambda activation=activation: mlp(activation()), _inputs(5, 3))
        for activation in (
            nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.LeakyReLU, nn.Mish,
            nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.Softshrink,
            nn.Hardshrink, nn.PReLU,
        )
    },
    "MLP with GLU": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GLU(), nn.Linear(2, 1)), _inputs(5, 3)),
    "MLP with softmax": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1), nn.Linear(4, 1)), _inputs(5, 3)),
    "layer norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1)), _inputs(5, 3)),
    "RMS norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.RMSNorm(4), nn.Linear(4, 1)), _inputs(5, 3)),
    "group norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 1)), _inputs(5, 3)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).eval(), _inputs(5, 3)),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1)).eval(), _inputs(5, 3)),
    "bilinear": (lambda: nn.Sequential(_Pair(nn.Bilinear(3, 3, 2)), nn.Linear(2, 1)), _inputs(5, 3)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 1)),
                  torch.tensor([[0, 1], [3, 3], [2, 0]])),
    "embedding with padding": (lambda: nn.Sequential(nn.Embedding(4, 3, padding_idx=0), nn.Flatten(), nn.Linear(6, 1)),
                               torch.tensor([[0, 1], [3, 3], [2, 0]])),
    "embedding bag": (lambda: nn.Sequential(nn.EmbeddingBag(4, 3), nn.Linear(3, 1)), torch.tensor([[0, 1], [3, 3], [2, 0]])),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 1)), _inputs(4, 2, 6)),
    "conv1d with stride": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 2, stride=2, groups=2, dilation=2), nn.Flatten(), nn.Linear(8, 1)), _inputs(4, 2, 6)),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 1)), _inputs(3, 1, 6, 6)),
    "conv2d and mean": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                              nn.Linear(18, 1)).eval(), _inputs(3, 1, 6, 6)),
    "conv transposed": (
        lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 3, stride=2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 1)), _inputs(4, 2, 4)),
    "LSTM": (lambda: Recurrent(nn.LSTM), _inputs(3, 4, 2)),
    "GRU": (lambda: Recurrent(nn.GRU), _inputs(3, 4, 2)),
    "RNN": (lambda: Recurrent(nn.RNN), _inputs(3, 4, 2)),
    "attention": (Attention, _inputs(2, 3, 4)),
    "causal attention": (Causal, _inputs(2, 3, 4)),
    "transformer": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(12, 1)).eval(), _inputs(2, 3, 4)),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 1)), _inputs(5, 3)),
}  # fmt: skip


class _Pair(nn.Module):
    """A network of two inputs, given one twice."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x, x)


def network(name: str) -> Callable[[], None]:
    """A network of which every parameter is lifted, observed with noise."""
    make, x = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make().to(D)

    def program() -> None:
        mean = su.module("net", net)(x)
        su.sample("y", dist.Normal(mean, 1.0), obs=torch.zeros_like(mean))

    return su.handlers.lift(program, prior=dist.Normal(torch.zeros((), dtype=D), 1.0))
