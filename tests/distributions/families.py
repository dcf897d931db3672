"""One row for each of our own families: all that `test_families.py` holds it to.

A row has how many unknowns its arguments take, the distribution as a function of them, values to score, and what SciPy or a formula
gives as their log density. `samples` says how draws are held to it: by the cdf ("numbers"), by the probabilities ("counts"), by
ratios of densities ("ratios"), or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mpmath import mp
from scipy import stats
from scipy.special import betaln, expit, gammaln, log_expit, log_ndtr, xlogy
from torch import Tensor

import sursum.distributions as dist

D = torch.float64
Array = Any


@dataclass(frozen=True)
class Row:
    """What is known of a family."""

    count: int
    make: Callable[[Tensor], Any]
    values: Tensor
    reference: Callable[[Array, Array], Array]
    samples: str = "numbers"
    moments: bool = True
    latent: bool = True
    precision: float = 1e-10
    differentiable: bool = True  # in its values, at those that are scored


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=D)


REALS = tensor(-700.0, -30.0, -4.0, -1.2, -1e-9, 0.3, 1.0, 2.5, 12.0, 55.0, 900.0)
POSITIVES = tensor(1e-12, 1e-3, 0.2, 1.1, 3.4, 9.0, 40.0, 600.0)
UNITS = tensor(1e-9, 0.01, 0.2, 0.5, 0.93, 0.9999)
COUNTS = tensor(0, 1, 2, 3, 7, 30, 400)
exp = np.exp


def sig(x: Array) -> Array:
    return expit(x)


def log_mass(of: Any, low: float, high: float) -> float:
    """log P(low < X ≤ high), by the smaller tails."""
    left, right = of.cdf(high) - of.cdf(low), of.sf(low) - of.sf(high)
    return float(np.log(left if of.cdf(low) < 0.5 else right))


def cut(of: Any, x: Array, low: float, high: float) -> Array:
    return np.where((x >= low) & (x <= high), of.logpdf(x) - log_mass(of, low, high), -np.inf)


def negative_binomial(x: Array, k: float, mean: float) -> Array:
    return gammaln(k + x) - gammaln(k) - gammaln(x + 1) + k * np.log(k / (k + mean)) + xlogy(x, mean / (k + mean))


def inflate(base: Array, zero: float, gate: float, x: Array) -> Array:
    return np.where(x == 0, np.log(gate + (1 - gate) * zero), np.log(1 - gate) + base)


def hurdle(base: Array, zero: float, gate: float, x: Array) -> Array:
    return np.where(x == 0, np.log(gate), np.log((1 - gate) / (1 - zero)) + base)


def ordinal(cdf: Array, x: Array) -> Array:
    edges = np.concatenate([[0.0], cdf, [1.0]])
    return np.log(np.diff(edges))[x.astype(int)]


def triangle(t: Tensor, n: int) -> Tensor:
    """A lower triangle with a positive diagonal, from n·n numbers."""
    square = t.reshape(n, n)
    return square.tril(-1) + torch.diag_embed(square.diagonal().exp())


def lower(t: Array, n: int) -> Array:
    return triangle(torch.as_tensor(t), n).numpy()


def rows(function: Callable[[Array], float], x: Array) -> Array:
    return np.array([function(each) for each in x])


def by_mpmath(function: Callable[..., Any], x: Array) -> Array:
    with mp.workdps(40):
        return np.array([float(function(mp.mpf(float(each)))) for each in x])


def tilted(z: Any, rate: Any) -> Any:
    """∫ φ(z − t) e^(−rate t) dt over t > 0."""
    return mp.exp(rate * rate / 2 - rate * z) * mp.erfc((rate - z) / mp.sqrt(2)) / 2


def soft_asymmetric(t: Array, x: Array) -> Array:
    loc, scale, asymmetry, softness = (mp.mpf(float(v)) for v in (t[0], exp(t[1]), exp(t[2]), exp(t[3])))

    def one(value: Any) -> Any:
        z = (value - loc) / (scale * softness)
        left, right = tilted(-z, softness / asymmetry), tilted(z, softness * asymmetry)
        return mp.log((left + right) / (scale * (asymmetry + 1 / asymmetry)))

    return by_mpmath(one, x)


def correlation(*numbers: float) -> Tensor:
    n = (1 + math.isqrt(1 + 8 * len(numbers))) // 2
    found = torch.eye(n, dtype=D)
    for (row, column), r in zip([(i, j) for i in range(n) for j in range(i)], numbers, strict=True):
        found[row, column] = found[column, row] = r
    return found


def lkj(eta: float, x: Array) -> float:
    d = len(x)
    norm = 0.0
    for k in range(1, d):  # Lewandowski, Kurowicka, Joe (2009), equation 16
        a = eta + (k - 1) / 2
        norm += (2 * eta - 2 + k) * k * math.log(2) + k * betaln(a, a)
    return (eta - 1) * np.linalg.slogdet(x)[1] - norm


def definite(t: Tensor, n: int) -> Tensor:
    factor = triangle(t, n)
    return factor @ factor.mT


def normal_path(steps: Array, scale: float) -> float:
    return float(stats.norm(0, scale).logpdf(steps).sum())


def autoregression(t: Array, x: Array) -> float:
    phi, c, scale = t[:2], t[2], exp(t[3])
    means = [0.0, 0.0, *(c + phi[0] * x[k - 1] + phi[1] * x[k - 2] for k in range(2, len(x)))]
    return normal_path(x - np.array(means), scale)


def inverse_wishart(t: Array, x: Array) -> float:
    factor = lower(t[1:], 2)
    return float(stats.invwishart(3.0 + exp(t[0]), factor @ factor.T).logpdf(x))


def zero_sum(t: Array, x: Array, rank: int) -> float:
    return -float((x**2).sum()) / (2 * exp(2 * t[0])) - rank * (t[0] + 0.5 * math.log(2 * math.pi))


def induced(t: Array, x: Array) -> float:
    """By the change of variables: the derivative of the probabilities by the cutpoints is a triangle."""
    alpha, z = exp(t[:3]), x - t[3]
    probs = np.diff(np.concatenate([[0.0], sig(z), [1.0]]))
    return float(stats.dirichlet(alpha).logpdf(probs / probs.sum()) + (log_expit(z) + log_expit(-z)).sum())


THREE = torch.stack([tensor(-1.0, 0.3, 2.0), tensor(0.0, 0.1, 0.2), tensor(-40.0, 2.0, 30.0)])
SQUARES = torch.stack(
    [torch.eye(2, dtype=D), definite(tensor(0.3, 0.0, 0.8, -0.2), 2), 30 * definite(tensor(1, 0, -2, 0.5), 2)]
)

ROWS: dict[str, Row] = {
    "AR": Row(
        4, lambda t: dist.AR(t[:2] / 3, t[3].exp(), 3, constant=t[2]), THREE,
        lambda t, x: rows(lambda one: autoregression(np.array([t[0] / 3, t[1] / 3, t[2], t[3]]), one), x),
        "ratios", moments=False),
    "AsymmetricLaplace": Row(
        3, lambda t: dist.AsymmetricLaplace(t[0], t[1].exp(), t[2].exp()), REALS,
        lambda t, x: stats.laplace_asymmetric(exp(t[2]), t[0], exp(t[1])).logpdf(x)),
    "AsymmetricLaplaceQuantile": Row(
        3, lambda t: dist.AsymmetricLaplaceQuantile(t[0], t[1].exp(), t[2].sigmoid()), REALS,
        lambda t, x: np.log(sig(t[2]) * sig(-t[2])) - t[1] - (x - t[0]) / exp(t[1]) * (sig(t[2]) - (x < t[0]))),
    "BetaBinomial": Row(
        2, lambda t: dist.BetaBinomial(t[0].exp(), t[1].exp(), 12), tensor(0, 1, 5, 12),
        lambda t, x: stats.betabinom(12, exp(t[0]), exp(t[1])).logpmf(x), "counts"),
    "BetaNegativeBinomial": Row(
        3, lambda t: dist.BetaNegativeBinomial(t[0].exp(), 9 + t[1].exp(), t[2].exp()), COUNTS,
        lambda t, x: gammaln(exp(t[2]) + x) - gammaln(exp(t[2])) - gammaln(x + 1)
        + betaln(exp(t[0]) + x, 9 + exp(t[1]) + exp(t[2])) - betaln(exp(t[0]), 9 + exp(t[1])), "counts"),
    "BetaProportion": Row(
        2, lambda t: dist.BetaProportion(t[0].sigmoid(), 3 * t[1].exp()), UNITS,
        lambda t, x: stats.beta(sig(t[0]) * 3 * exp(t[1]), sig(-t[0]) * 3 * exp(t[1])).logpdf(x)),
    "DirichletMultinomial": Row(
        3, lambda t: dist.DirichletMultinomial(t.exp(), 6), torch.stack([tensor(6, 0, 0), tensor(1, 2, 3), tensor(0, 0, 6)]),
        lambda t, x: stats.dirichlet_multinomial(exp(t), 6).logpmf(x.astype(int)), "ratios", differentiable=False),
    "DiscreteUniform": Row(
        0, lambda t: dist.DiscreteUniform(-2, 5), tensor(-2, 0, 5), lambda t, x: np.full(len(x), -math.log(8)), "counts"),
    "ExGaussian": Row(
        3, lambda t: dist.ExGaussian(t[0], t[1].exp(), t[2].exp()), REALS,
        lambda t, x: by_mpmath(lambda v: mp.log(exp(t[2])) + mp.log(tilted((v - t[0]) / exp(t[1]), exp(t[1] + t[2]))), x)),
    "FoldedDistribution": Row(
        2, lambda t: dist.FoldedDistribution(dist.Normal(t[0], t[1].exp())), POSITIVES,
        lambda t, x: np.logaddexp(stats.norm(t[0], exp(t[1])).logpdf(x), stats.norm(t[0], exp(t[1])).logpdf(-x)), moments=False),
    "GammaPoisson": Row(
        2, lambda t: dist.GammaPoisson(t[0].exp(), t[1].exp()), COUNTS,
        lambda t, x: negative_binomial(x, exp(t[0]), exp(t[0] - t[1])), "counts"),
    "GaussianRandomWalk": Row(
        2, lambda t: dist.GaussianRandomWalk(t[0].exp(), 3, t[1]), THREE,
        lambda t, x: rows(lambda one: normal_path(np.diff(one, prepend=0.0) - t[1], exp(t[0])), x), "ratios"),
    "HalfStudentT": Row(
        2, lambda t: dist.HalfStudentT(6 * t[0].exp(), t[1].exp()), POSITIVES,
        lambda t, x: stats.t(6 * exp(t[0]), 0, exp(t[1])).logpdf(x) + math.log(2)),
    "HurdleDistribution": Row(
        3, lambda t: dist.HurdleDistribution(dist.NegativeBinomial2(t[1].exp(), t[2].exp()), gate_logits=t[0]), COUNTS,
        lambda t, x: hurdle(negative_binomial(x, exp(t[2]), exp(t[1])), exp(negative_binomial(0, exp(t[2]), exp(t[1]))), sig(t[0]), x),
        "counts"),
    "HurdleGamma": Row(
        3, lambda t: dist.HurdleGamma(t[0].sigmoid(), t[1].exp(), t[2].exp()), torch.cat([tensor(0), POSITIVES]),
        lambda t, x: hurdle(stats.gamma(exp(t[1]), scale=exp(-t[2])).logpdf(np.where(x == 0, 1, x)), 0, sig(t[0]), x), "none"),
    "HurdleLogNormal": Row(
        3, lambda t: dist.HurdleLogNormal(t[0].sigmoid(), t[1], t[2].exp()), torch.cat([tensor(0), POSITIVES]),
        lambda t, x: hurdle(stats.lognorm(exp(t[2]), scale=exp(t[1])).logpdf(np.where(x == 0, 1, x)), 0, sig(t[0]), x), "none"),
    "HurdleNegativeBinomial2": Row(
        3, lambda t: dist.HurdleNegativeBinomial2(t[0].sigmoid(), t[1].exp(), t[2].exp()), COUNTS,
        lambda t, x: hurdle(negative_binomial(x, exp(t[2]), exp(t[1])), exp(negative_binomial(0, exp(t[2]), exp(t[1]))), sig(t[0]), x),
        "counts"),
    "HurdlePoisson": Row(
        2, lambda t: dist.HurdlePoisson(t[0].sigmoid(), t[1].exp()), COUNTS,
        lambda t, x: hurdle(stats.poisson(exp(t[1])).logpmf(x), exp(-exp(t[1])), sig(t[0]), x), "counts"),
    "InducedDirichlet": Row(
        4, lambda t: dist.InducedDirichlet(t[:3].exp(), t[3]), THREE[:, :2],
        lambda t, x: rows(lambda one: induced(t, one), x), "ratios", moments=False),
    "InverseGaussian": Row(
        2, lambda t: dist.InverseGaussian(t[0].exp(), t[1].exp()), POSITIVES,
        lambda t, x: stats.invgauss(exp(t[0] - t[1]), scale=exp(t[1])).logpdf(x)),
    "InverseWishart": Row(
        5, lambda t: dist.InverseWishart(16.0 + t[0].exp(), scale_tril=triangle(t[1:], 2)), SQUARES,
        lambda t, x: rows(lambda one: inverse_wishart(np.array([np.log(13.0 + exp(t[0])), *t[1:]]), one), x), "ratios"),
    "LKJ": Row(
        1, lambda t: dist.LKJ(3, t[0].exp()), torch.stack([correlation(0, 0, 0), correlation(0.3, -0.2, 0.5), correlation(0.99, 0.9, 0.95)]),
        lambda t, x: rows(lambda one: lkj(exp(t[0]), one), x), "ratios"),
    "LogUniform": Row(
        2, lambda t: dist.LogUniform(0.1 * t[0].sigmoid(), 5 + t[1].exp()), tensor(0.11, 0.5, 4.9),
        lambda t, x: stats.loguniform(0.1 * sig(t[0]), 5 + exp(t[1])).logpdf(x)),
    "Logistic": Row(
        2, lambda t: dist.Logistic(t[0], t[1].exp()), REALS, lambda t, x: stats.logistic(t[0], exp(t[1])).logpdf(x)),
    "MatrixNormal": Row(
        14, lambda t: dist.MatrixNormal(t[:6].reshape(2, 3), triangle(t[6:10], 2), triangle(torch.cat([t[10:], t[:5]]), 3)),
        torch.stack([torch.zeros(2, 3, dtype=D), torch.arange(6.0, dtype=D).reshape(2, 3).sin()]),
        lambda t, x: stats.matrix_normal(
            t[:6].reshape(2, 3), lower(t[6:10], 2) @ lower(t[6:10], 2).T,
            lower([*t[10:], *t[:5]], 3) @ lower([*t[10:], *t[:5]], 3).T).logpdf(x), "ratios"),
    "MultivariateStudentT": Row(
        7, lambda t: dist.MultivariateStudentT(6 * t[0].exp(), t[1:3], triangle(t[3:], 2)), THREE[:, :2],
        lambda t, x: stats.multivariate_t(t[1:3], lower(t[3:], 2) @ lower(t[3:], 2).T, 6 * exp(t[0])).logpdf(x), "ratios"),
    "NegativeBinomial2": Row(
        2, lambda t: dist.NegativeBinomial2(t[0].exp(), t[1].exp()), COUNTS,
        lambda t, x: negative_binomial(x, exp(t[1]), exp(t[0])), "counts"),
    "OrderedLogistic": Row(
        4, lambda t: dist.OrderedLogistic(t[0], torch.cat([t[1:2], t[2:].exp()]).cumsum(0)), tensor(0, 1, 2, 3),
        lambda t, x: ordinal(sig(np.cumsum([t[1], *exp(t[2:])]) - t[0]), x), "counts"),
    "OrderedProbit": Row(
        5, lambda t: dist.OrderedProbit(t[0], torch.cat([t[1:2], t[2:4].exp()]).cumsum(0), t[4].exp()), tensor(0, 1, 2, 3),
        lambda t, x: ordinal(exp(log_ndtr((np.cumsum([t[1], *exp(t[2:4])]) - t[0]) / exp(t[4]))), x), "counts"),
    "SkewLogistic": Row(
        3, lambda t: dist.SkewLogistic(t[0], t[1].exp(), t[2].exp()), REALS,
        lambda t, x: stats.genlogistic(exp(t[2]), t[0], exp(t[1])).logpdf(x)),
    "SkewNormal": Row(
        3, lambda t: dist.SkewNormal(t[0], t[1].exp(), 2 * t[2]), REALS,
        lambda t, x: math.log(2) + stats.norm(t[0], exp(t[1])).logpdf(x) + log_ndtr(2 * t[2] * (x - t[0]) / exp(t[1]))),
    "SoftAsymmetricLaplace": Row(
        4, lambda t: dist.SoftAsymmetricLaplace(t[0], t[1].exp(), t[2].exp(), t[3].exp()), REALS, soft_asymmetric),
    "SoftLaplace": Row(
        2, lambda t: dist.SoftLaplace(t[0], t[1].exp()), REALS,
        lambda t, x: stats.hypsecant(t[0], exp(t[1])).logpdf(np.clip(x, -500, 500)) - np.maximum(np.abs(x) - 500, 0) / exp(t[1])),
    "Sorted": Row(
        2, lambda t: dist.Sorted(dist.Normal(t[0], t[1].exp()), 3), THREE,
        lambda t, x: stats.norm(t[0], exp(t[1])).logpdf(x).sum(-1) + math.log(6), "ratios", moments=False),
    "Triangular": Row(
        3, lambda t: dist.Triangular(-1 - t[0].exp(), 3 + t[1].exp(), 4 * t[2].sigmoid() - 1), tensor(-0.9, 0.5, 1.0, 2.9),
        lambda t, x: stats.triang((4 * sig(t[2]) + exp(t[0])) / (4 + exp(t[0]) + exp(t[1])), -1 - exp(t[0]), 4 + exp(t[0]) + exp(t[1])).logpdf(x)),
    "Truncated": Row(
        3, lambda t: dist.Truncated(dist.Logistic(t[0], t[1].exp()), t[2] - 2, t[2] + 3), tensor(-0.5, 0.3, 0.9),
        lambda t, x: cut(stats.logistic(t[0], exp(t[1])), x, t[2] - 2, t[2] + 3), moments=False, precision=1e-9),
    "TruncatedCauchy": Row(
        2, lambda t: dist.TruncatedCauchy(t[0], t[1].exp(), low=-1.0, high=5.0), tensor(-0.9, 0.3, 0.9, 4.9),
        lambda t, x: cut(stats.cauchy(t[0], exp(t[1])), x, -1.0, 5.0), moments=False),
    "TruncatedNormal": Row(
        3, lambda t: dist.TruncatedNormal(t[0], t[1].exp(), low=t[2] - 2), tensor(0.9, 3.0, 9.0, 30.0),
        lambda t, x: stats.norm(t[0], exp(t[1])).logpdf(x) - log_ndtr((t[0] - t[2] + 2) / exp(t[1]))),
    "ZeroInflatedDistribution": Row(
        2, lambda t: dist.ZeroInflatedDistribution(dist.Binomial(9, logits=t[1]), gate_logits=t[0]), tensor(0, 1, 5, 9),
        lambda t, x: inflate(stats.binom(9, sig(t[1])).logpmf(x), sig(-t[1]) ** 9, sig(t[0]), x), "counts"),
    "ZeroInflatedNegativeBinomial": Row(
        3, lambda t: dist.ZeroInflatedNegativeBinomial(t[1].exp(), logits=t[2], gate=t[0].sigmoid()), COUNTS,
        lambda t, x: inflate(negative_binomial(x, exp(t[1]), exp(t[1] + t[2])), sig(-t[2]) ** exp(t[1]), sig(t[0]), x), "counts"),
    "ZeroInflatedNegativeBinomial2": Row(
        3, lambda t: dist.ZeroInflatedNegativeBinomial2(t[1].exp(), t[2].exp(), gate_logits=t[0]), COUNTS,
        lambda t, x: inflate(negative_binomial(x, exp(t[2]), exp(t[1])), exp(negative_binomial(0, exp(t[2]), exp(t[1]))), sig(t[0]), x),
        "counts"),
    "ZeroInflatedPoisson": Row(
        2, lambda t: dist.ZeroInflatedPoisson(t[1].exp(), gate=t[0].sigmoid()), COUNTS,
        lambda t, x: inflate(stats.poisson(exp(t[1])).logpmf(x), exp(-exp(t[1])), sig(t[0]), x), "counts"),
    "ZeroSumNormal": Row(
        1, lambda t: dist.ZeroSumNormal(t[0].exp(), (3,)), torch.stack([tensor(1, -1, 0), tensor(-30, 10, 20)]),
        lambda t, x: rows(lambda one: zero_sum(t, one, 2), x), "ratios"),
}  # fmt: skip
