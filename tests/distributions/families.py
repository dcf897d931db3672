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
    joined: bool = False  # of time or states, so that no single copy can be taken out of a batch


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


def state_space(t: Array, x: Array) -> float:
    """Of all times together: the observed elements are jointly normal."""
    f, h, q, r = (
        np.array([[0.9, t[0]], [0.0, 0.5]]),
        np.array([[1.0, 0.0], [t[1], 1.0]]),
        exp(t[2]) * np.eye(2),
        exp(t[3]) * np.eye(2),
    )
    steps, n = len(x), 2
    mean, spread, means, joint = np.zeros(n), np.eye(n), [], np.zeros((steps, n, steps, n))
    for k in range(steps):
        mean, spread = f @ mean, f @ spread @ f.T + q
        means.append(h @ mean)
        power = np.eye(n)
        for later in range(k, steps):
            joint[later, :, k, :] = h @ power @ spread @ h.T + (r if later == k else 0)
            joint[k, :, later, :] = joint[later, :, k, :].T
            power = f @ power
    flat = ~np.isnan(x.ravel())
    covariance = joint.reshape(steps * n, steps * n)[np.ix_(flat, flat)]
    return float(stats.multivariate_normal(np.concatenate(means)[flat], covariance).logpdf(x.ravel()[flat]))


def state_space_of(t: Tensor) -> Any:
    """The same by the library."""
    eye, zero = torch.eye(2, dtype=D), t[0] * 0
    f = torch.stack([torch.stack([zero + 0.9, t[0]]), torch.stack([zero, zero + 0.5])])
    h = torch.stack([torch.stack([zero + 1, zero]), torch.stack([t[1], zero + 1])])
    return f, t[2].exp() * eye, h, t[3].exp() * eye


def gaussian_hmm(t: Tensor) -> Any:
    f, q, h, r = state_space_of(t)
    zero = torch.zeros(2, dtype=D)
    start, moved = dist.MultivariateNormal(zero, torch.eye(2, dtype=D)), dist.MultivariateNormal(zero, q)
    return dist.GaussianHMM(start, f.mT, moved, h.mT, dist.Normal(zero, r.diagonal().sqrt()).to_event(1), 4)


def hidden(t: Array, x: Array) -> float:
    """By the sum over all paths."""
    start, moves = exp(t[:2]) / exp(t[:2]).sum(), exp(t[2:6].reshape(2, 2))
    moves = moves / moves.sum(1, keepdims=True)
    weights = start
    for value in x:
        weights = (weights @ moves) * stats.norm(t[6:8], 1.0).pdf(value)
    return float(np.log(weights.sum()))


W = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], dtype=D)


def car(t: Array, x: Array) -> float:
    w = W.numpy()
    precision = exp(t[2]) * (np.diag(w.sum(0)) - sig(t[1]) * w)
    return float(stats.multivariate_normal(np.full(4, t[0]), np.linalg.inv(precision)).logpdf(x))


def icar(t: Array, x: Array) -> float:
    """In coordinates of the plane of zero sums."""
    w = W.numpy()
    basis = np.linalg.qr(np.eye(4)[:, :3] - 0.25)[0]
    precision = basis.T @ (np.diag(w.sum(0)) - w) @ basis / exp(2 * t[0])
    return float(stats.multivariate_normal(np.zeros(3), np.linalg.inv(precision)).logpdf(basis.T @ x))


def projected(t: Array, x: Array) -> float:
    def ray(r: Any) -> Any:
        return r ** (len(x) - 1) * mp.exp(
            -sum((r * mp.mpf(float(a)) - mp.mpf(float(c))) ** 2 for a, c in zip(x, t, strict=True)) / 2
        )

    return float(mp.log(mp.quad(ray, [0, 1, 4, 8, 30])) - len(x) * mp.log(2 * mp.pi) / 2)


def two_angles(t: Array, x: Array) -> float:
    k1, k2, lam = exp(t[2]), exp(t[3]), t[4]
    total = mp.mpf(0)
    for i in range(60):
        term = mp.binomial(2 * i, i) * (lam**2 / (4 * k1 * k2)) ** i * mp.besseli(i, k1) * mp.besseli(i, k2)
        total += term
    a, b = x[0] - t[0], x[1] - t[1]
    return float(k1 * np.cos(a) + k2 * np.cos(b) + lam * np.sin(a) * np.sin(b) - np.log(4 * np.pi**2) - float(mp.log(total)))


def interval(t: Array, x: Array) -> Array:
    of = stats.norm(t[0], exp(t[1]))
    return np.array([of.logpdf(a) if a == b else log_mass(of, a, b) for a, b in x])


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def nan_normal(t: Array, x: Array) -> float:
    there = ~np.isnan(x)
    factor = lower(t[3:], 3)
    covariance = (factor @ factor.T)[np.ix_(there, there)]
    return float(stats.multivariate_normal(t[:3][there], covariance).logpdf(x[there])) if there.any() else 0.0


def real(x: Any) -> Any:
    return mp.mpf(float(x))


def dagum(p: float, a: float, b: float, x: Any) -> Any:
    p, a, b = real(p), real(a), real(b)
    return mp.log(a * p / x) + a * p * mp.log(x / b) - (p + 1) * mp.log((x / b) ** a + 1)


def frechet(s: float, a: float, x: Any) -> Any:
    s, a = real(s), real(a)
    return mp.log(a / s) - (1 + a) * mp.log(x / s) - (x / s) ** -a


def power_law(alpha: float, low: float, high: float, x: Any) -> Any:
    power, ends = real(alpha) + 1, (real(low), real(high))
    return (power - 1) * mp.log(x) - mp.log((ends[1] ** power - ends[0] ** power) / power)


def rice(nu: float, s: float, x: Any) -> Any:
    nu, s = real(nu), real(s)
    return mp.log(x / s**2) - (x**2 + nu**2) / (2 * s**2) + mp.log(mp.besseli(0, x * nu / s**2))


def skellam(a: float, b: float, k: Any) -> Any:
    a, b = real(a), real(b)
    return -a - b + k / 2 * mp.log(a / b) + mp.log(mp.besseli(abs(k), 2 * mp.sqrt(a * b)))


def skew_t(a: float, b: float, z: Any) -> Any:
    a, b, r = real(a), real(b), z / mp.sqrt(real(a) + real(b) + z**2)
    norm = (a + b - 1) * mp.log(2) + mp.log(mp.beta(a, b)) + mp.log(a + b) / 2
    return (a + mp.mpf(0.5)) * mp.log(1 + r) + (b + mp.mpf(0.5)) * mp.log(1 - r) - norm


def diffusion(t: Array, x: Array) -> float:
    total = stats.norm(t[2], 1.0).logpdf(x[0])
    for k, (time, step) in enumerate([(0.0, 0.5), (0.5, 0.7 - 0.5)]):
        mean = x[k] + (-exp(t[0]) * x[k] + time) * step
        total += stats.norm(mean, exp(t[1]) * step**0.5).logpdf(x[k + 1])
    return float(total)


def garch(t: Array, x: Array) -> float:
    total, variance = 0.0, exp(2 * t[3])
    for value in x:
        total += stats.norm(t[4], variance**0.5).logpdf(value)
        variance = exp(t[0]) + 0.5 * sig(t[1]) * (value - t[4]) ** 2 + 0.4 * sig(t[2]) * variance
    return float(total)


def corr(t: Tensor) -> Tensor:
    r = 0.9 * t.tanh()
    return torch.stack([torch.stack([torch.ones_like(r), r]), torch.stack([r, torch.ones_like(r)])])


def copula(marginals: Any, t: float, x: Array) -> float:
    z = np.array(
        [stats.norm.ppf(m.cdf(v)) if m.cdf(v) < 0.5 else stats.norm.isf(m.sf(v)) for m, v in zip(marginals, x, strict=True)]
    )
    joint = stats.multivariate_normal(np.zeros(2), corr(torch.as_tensor(t)).numpy()).logpdf(z)
    return float(joint - stats.norm.logpdf(z).sum() + sum(m.logpdf(v) for m, v in zip(marginals, x, strict=True)))


def grouped(t: Array, x: Array) -> float:
    member = np.array([1, 0, 1])
    spread = exp(2 * t[2:4])[member]
    covariance = np.where(member[:, None] == member, spread[:, None], 0.0) + exp(2 * t[4]) * np.eye(3)
    return float(stats.multivariate_normal(t[:2][member], covariance).logpdf(x))


def noisy_counts(r: float, logit: float, noise: float, x: Array) -> Array:
    """The integral over the noise by the trapezoid rule, whose error is below rounding for normal weights."""
    e = np.linspace(-9, 9, 2001)[:, None]
    logits = logit + noise * e
    terms = stats.norm.logpdf(e) + r * log_expit(-logits) + x * log_expit(logits)
    return np.log(exp(terms).sum(0) * 18 / 2000) + gammaln(r + x) - gammaln(r) - gammaln(x + 1)


X = tensor(0.5, -1.0, 2.0, 0.3).reshape(4, 1)
SERIES = torch.stack(
    [tensor(0.3, -1.0, 2.0, math.nan, 0.5, 1.0, math.nan, math.nan), torch.arange(8.0, dtype=D).cos()]
).reshape(2, 4, 2)
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
    "BernoulliLogitGLM": Row(
        2, lambda t: dist.BernoulliLogitGLM(X, t[0], t[1:]), torch.stack([tensor(0, 1, 0, 1), tensor(1, 1, 1, 0)]),
        lambda t, x: log_expit((2 * x - 1) * (X.numpy()[:, 0] * t[1] + t[0])), "none"),
    "CAR": Row(
        3, lambda t: dist.CAR(t[0], t[1].sigmoid(), t[2].exp(), W), torch.stack([tensor(0, 1, 2, -1), tensor(5, 5, 5, 5)]),
        lambda t, x: rows(lambda one: car(t, one), x), "ratios"),
    "Censored": Row(
        4, lambda t: dist.Censored(dist.Normal(t[0], t[1].exp()), t[2] * 0 - 1, 2 + t[3] * 0), tensor(-1.0, 0.0, 1.5, 2.0),
        lambda t, x: np.where(x == -1, stats.norm(t[0], exp(t[1])).logcdf(-1), np.where(
            x == 2, stats.norm(t[0], exp(t[1])).logsf(2), stats.norm(t[0], exp(t[1])).logpdf(x))), "none", differentiable=False),
    "Chi": Row(
        2, lambda t: dist.Chi(6 * t[0].exp(), t[1].exp()), POSITIVES,
        lambda t, x: stats.chi(6 * exp(t[0]), scale=exp(t[1])).logpdf(x)),
    "DirichletMultinomial": Row(
        3, lambda t: dist.DirichletMultinomial(t.exp(), 6), torch.stack([tensor(6, 0, 0), tensor(1, 2, 3), tensor(0, 0, 6)]),
        lambda t, x: stats.dirichlet_multinomial(exp(t), 6).logpmf(x.astype(int)), "ratios", differentiable=False),
    "DiscreteHMM": Row(
        8, lambda t: dist.DiscreteHMM(t[:2], t[2:6].reshape(2, 2), dist.Normal(t[6:], 1.0), 5),
        torch.stack([tensor(0.3, -1, 2, 0, 1), tensor(-3, 3, 0.1, 0.2, 0.3)]),
        lambda t, x: rows(lambda one: hidden(t, one), x), "ratios", moments=False, joined=True),
    "DiscreteUniform": Row(
        0, lambda t: dist.DiscreteUniform(-2, 5), tensor(-2, 0, 5), lambda t, x: np.full(len(x), -math.log(8)), "counts"),
    "DiscreteWeibull": Row(
        2, lambda t: dist.DiscreteWeibull(t[0].sigmoid(), t[1].exp()), tensor(0, 1, 2, 3, 7),
        lambda t, x: np.log(sig(t[0]) ** (x ** exp(t[1])) - sig(t[0]) ** ((x + 1) ** exp(t[1]))), "counts", moments=False, precision=1e-9),
    "ExGaussian": Row(
        3, lambda t: dist.ExGaussian(t[0], t[1].exp(), t[2].exp()), REALS,
        lambda t, x: by_mpmath(lambda v: mp.log(exp(t[2])) + mp.log(tilted((v - t[0]) / exp(t[1]), exp(t[1] + t[2]))), x)),
    "FoldedDistribution": Row(
        2, lambda t: dist.FoldedDistribution(dist.Normal(t[0], t[1].exp())), POSITIVES,
        lambda t, x: np.logaddexp(stats.norm(t[0], exp(t[1])).logpdf(x), stats.norm(t[0], exp(t[1])).logpdf(-x)), moments=False),
    "GammaPoisson": Row(
        2, lambda t: dist.GammaPoisson(t[0].exp(), t[1].exp()), COUNTS,
        lambda t, x: negative_binomial(x, exp(t[0]), exp(t[0] - t[1])), "counts"),
    "GaussianHMM": Row(
        4, gaussian_hmm, SERIES, lambda t, x: rows(lambda one: state_space(t, one), x), "ratios", moments=False),
    "GaussianStateSpace": Row(
        4, lambda t: dist.GaussianStateSpace(*state_space_of(t), num_steps=4), SERIES,
        lambda t, x: rows(lambda one: state_space(t, one), x), "ratios", moments=False),
    "GeneralizedPoisson": Row(
        2, lambda t: dist.GeneralizedPoisson(t[0].exp(), 0.5 * t[1].sigmoid()), COUNTS,
        lambda t, x: t[0] + (x - 1) * np.log(exp(t[0]) + 0.5 * sig(t[1]) * x) - exp(t[0]) - 0.5 * sig(t[1]) * x - gammaln(x + 1), "counts"),
    "Hypergeometric": Row(
        0, lambda t: dist.Hypergeometric(20, 8, 9), tensor(0, 3, 8), lambda t, x: stats.hypergeom(20, 8, 9).logpmf(x), "counts"),
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
    "ICAR": Row(
        1, lambda t: dist.ICAR(W, t[0].exp()), torch.stack([tensor(0, 1, 2, -3), tensor(5, -5, 5, -5)]),
        lambda t, x: rows(lambda one: icar(t, one), x), "ratios"),
    "IntervalCensoredDistribution": Row(
        2, lambda t: dist.IntervalCensoredDistribution(dist.Normal(t[0], t[1].exp())),
        torch.stack([tensor(-1, 2), tensor(0.5, math.inf), tensor(-math.inf, 1), tensor(1.5, 1.5), tensor(6, 8)]), interval, "none"),
    "InverseGaussian": Row(
        2, lambda t: dist.InverseGaussian(t[0].exp(), t[1].exp()), POSITIVES,
        lambda t, x: stats.invgauss(exp(t[0] - t[1]), scale=exp(t[1])).logpdf(x)),
    "InverseWishart": Row(
        5, lambda t: dist.InverseWishart(16.0 + t[0].exp(), scale_tril=triangle(t[1:], 2)), SQUARES,
        lambda t, x: rows(lambda one: inverse_wishart(np.array([np.log(13.0 + exp(t[0])), *t[1:]]), one), x), "ratios"),
    "LKJ": Row(
        1, lambda t: dist.LKJ(3, t[0].exp()), torch.stack([correlation(0, 0, 0), correlation(0.3, -0.2, 0.5), correlation(0.99, 0.9, 0.95)]),
        lambda t, x: rows(lambda one: lkj(exp(t[0]), one), x), "ratios"),
    "LeftCensoredDistribution": Row(
        2, lambda t: dist.LeftCensoredDistribution(dist.Logistic(t[0], t[1].exp()), True), REALS,
        lambda t, x: stats.logistic(t[0], exp(t[1])).logcdf(x), "none", latent=False),
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
    "MixtureGeneral": Row(
        4, lambda t: dist.MixtureGeneral(dist.Categorical(logits=t[:2]), [dist.Normal(t[2], 1.0), dist.Logistic(t[2] - 1, t[3].exp())]), REALS,
        lambda t, x: np.logaddexp(
            log_expit(t[0] - t[1]) + stats.norm(t[2]).logpdf(x), log_expit(t[1] - t[0]) + stats.logistic(t[2] - 1, exp(t[3])).logpdf(x))),
    "MultivariateStudentT": Row(
        7, lambda t: dist.MultivariateStudentT(6 * t[0].exp(), t[1:3], triangle(t[3:], 2)), THREE[:, :2],
        lambda t, x: stats.multivariate_t(t[1:3], lower(t[3:], 2) @ lower(t[3:], 2).T, 6 * exp(t[0])).logpdf(x), "ratios"),
    "NegativeBinomial2": Row(
        2, lambda t: dist.NegativeBinomial2(t[0].exp(), t[1].exp()), COUNTS,
        lambda t, x: negative_binomial(x, exp(t[1]), exp(t[0])), "counts"),
    "NanMaskedMultivariateNormal": Row(
        12, lambda t: dist.NanMaskedMultivariateNormal(t[:3], scale_tril=triangle(t[3:], 3)),
        torch.stack([tensor(1, 2, 3), tensor(0.5, math.nan, 1), tensor(math.nan, math.nan, 0.3)]),
        lambda t, x: rows(lambda one: nan_normal(t, one), x), "ratios"),
    "NanMaskedNormal": Row(
        2, lambda t: dist.NanMaskedNormal(t[0], t[1].exp()), tensor(-3, 0.5, math.nan, 4),
        lambda t, x: np.nan_to_num(stats.norm(t[0], exp(t[1])).logpdf(x)), "ratios"),
    "NormalGLM": Row(
        3, lambda t: dist.NormalGLM(X, t[0], t[1:2], t[2].exp()), torch.stack([tensor(0, 1, 0, 1), tensor(1, 1, 1, 0)]),
        lambda t, x: stats.norm(X.numpy()[:, 0] * t[1] + t[0], exp(t[2])).logpdf(x), "none", latent=False),
    "OrderedLogistic": Row(
        4, lambda t: dist.OrderedLogistic(t[0], torch.cat([t[1:2], t[2:].exp()]).cumsum(0)), tensor(0, 1, 2, 3),
        lambda t, x: ordinal(sig(np.cumsum([t[1], *exp(t[2:])]) - t[0]), x), "counts"),
    "OrderedLogisticGLM": Row(
        2, lambda t: dist.OrderedLogisticGLM(X, t[:1], torch.stack([t[1], t[1] + 1])), torch.stack([tensor(0, 1, 2, 1), tensor(1, 1, 1, 0)]),
        lambda t, x: np.array([[ordinal(sig(np.array([t[1], t[1] + 1]) - t[0] * X.numpy()[k, 0]), row[k : k + 1])[0] for k in range(4)] for row in x]),
        "none"),
    "OrderedProbit": Row(
        5, lambda t: dist.OrderedProbit(t[0], torch.cat([t[1:2], t[2:4].exp()]).cumsum(0), t[4].exp()), tensor(0, 1, 2, 3),
        lambda t, x: ordinal(exp(log_ndtr((np.cumsum([t[1], *exp(t[2:4])]) - t[0]) / exp(t[4]))), x), "counts"),
    "PoissonLogGLM": Row(
        2, lambda t: dist.PoissonLogGLM(X, t[0], t[1:]), torch.stack([tensor(0, 1, 0, 1), tensor(1, 7, 1, 0)]),
        lambda t, x: stats.poisson(exp(X.numpy()[:, 0] * t[1] + t[0])).logpmf(x), "none"),
    "ProjectedNormal": Row(
        3, lambda t: dist.ProjectedNormal(3 * t), unit(torch.stack([tensor(1, 0, 0), tensor(0.3, -2, 1), tensor(-1, -1, -1)])),
        lambda t, x: rows(lambda one: projected(3 * t, one), x), "ratios", moments=False),
    "RightCensoredDistribution": Row(
        2, lambda t: dist.RightCensoredDistribution(dist.Weibull(t[0].exp(), t[1].exp()), True), POSITIVES[1:5],
        lambda t, x: stats.weibull_min(exp(t[1]), scale=exp(t[0])).logsf(x), "none", latent=False),
    "SineBivariateVonMises": Row(
        5, lambda t: dist.SineBivariateVonMises(t[0], t[1], t[2].exp(), t[3].exp(), t[4]), torch.stack([tensor(0.3, 2), tensor(-3, 1)]),
        lambda t, x: rows(lambda one: two_angles(t, one), x), "ratios", moments=False),
    "SineSkewed": Row(
        3, lambda t: dist.SineSkewed(dist.VonMises(t[0], t[1].exp()), 0.9 * t[2].tanh()), tensor(-3.0, 0.3, 1.5),
        lambda t, x: stats.vonmises(exp(t[1]), t[0]).logpdf(x) + np.log1p(0.9 * np.tanh(t[2]) * np.sin(x - t[0])), moments=False,
        precision=1e-6),
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
    "StickBreakingWeights": Row(
        1, lambda t: dist.StickBreakingWeights(t[0].exp(), 2), torch.stack([tensor(0.2, 0.5, 0.3), tensor(0.01, 0.01, 0.98)]),
        lambda t, x: stats.beta(1, exp(t[0])).logpdf(x[:, 0]) + stats.beta(1, exp(t[0])).logpdf(x[:, 1] / (1 - x[:, 0])) - np.log(1 - x[:, 0]),
        "ratios", moments=False),
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
    "VonMises3D": Row(
        3, lambda t: dist.VonMises3D(3 * t), unit(torch.stack([tensor(1, 0, 0), tensor(0.3, -2, 1), tensor(-1, -1, -1)])),
        lambda t, x: x @ (3 * t) - np.log(4 * np.pi * np.sinh(np.linalg.norm(3 * t)) / np.linalg.norm(3 * t)), "ratios", moments=False),
    "YuleSimon": Row(
        1, lambda t: dist.YuleSimon(6 * t[0].exp()), tensor(1, 2, 9, 300), lambda t, x: stats.yulesimon(6 * exp(t[0])).logpmf(x), "counts",
        moments=False),
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
    "AffineBeta": Row(
        4, lambda t: dist.AffineBeta(3 * t[0].exp(), 3 * t[1].exp(), t[2] - 3, 6 + t[3].exp()), tensor(-1.4, 0.0, 0.5, 2.3),
        lambda t, x: stats.beta(3 * exp(t[0]), 3 * exp(t[1]), t[2] - 3, 6 + exp(t[3])).logpdf(x)),
    "Dagum": Row(
        3, lambda t: dist.Dagum(t[0].exp(), 6 * t[1].exp(), t[2].exp()), POSITIVES[1:],
        lambda t, x: by_mpmath(lambda v: dagum(exp(t[0]), 6 * exp(t[1]), exp(t[2]), v), x)),
    "DoublyTruncatedPowerLaw": Row(
        3, lambda t: dist.DoublyTruncatedPowerLaw(t[0] - 1, 0.1 * t[1].sigmoid(), 5 + t[2].exp()), tensor(0.11, 0.5, 4.9),
        lambda t, x: by_mpmath(lambda v: power_law(t[0] - 1, 0.1 * sig(t[1]), 5 + exp(t[2]), v), x)),
    "EulerMaruyama": Row(
        3, lambda t: dist.EulerMaruyama(
            tensor(0.0, 0.5, 0.7), lambda x, time: (-t[0].exp() * x + time, t[1].exp() * torch.ones_like(x)), dist.Normal(t[2], 1.0)),
        THREE, lambda t, x: rows(lambda one: diffusion(t, one), x), "ratios", moments=False, joined=True),
    "ExtendedBetaBinomial": Row(
        2, lambda t: dist.ExtendedBetaBinomial(t[0].exp(), t[1].exp(), 12), tensor(-1, 0, 5, 12, 13),
        lambda t, x: stats.betabinom(12, exp(t[0]), exp(t[1])).logpmf(x), "counts"),
    "ExtendedBinomial": Row(
        1, lambda t: dist.ExtendedBinomial(9, logits=t[0]), tensor(-1, 0, 5, 9, 10),
        lambda t, x: stats.binom(9, sig(t[0])).logpmf(x), "counts"),
    "Frechet": Row(
        2, lambda t: dist.Frechet(t[0].exp(), 4 * t[1].exp()), POSITIVES[1:],
        lambda t, x: by_mpmath(lambda v: frechet(exp(t[0]), 4 * exp(t[1]), v), x)),
    "GARCH11": Row(
        5, lambda t: dist.GARCH11(t[0].exp(), 0.5 * t[1].sigmoid(), 0.4 * t[2].sigmoid(), t[3].exp(), 3, t[4]), THREE,
        lambda t, x: rows(lambda one: garch(t, one), x), "ratios", moments=False),
    "GaussianCopula": Row(
        5, lambda t: dist.GaussianCopula(dist.Logistic(t[:2], t[2:4].exp()), corr(t[4])),
        torch.stack([tensor(0.3, 2.0), tensor(1e-3, -9.0), tensor(40.0, 1e-6)]),
        lambda t, x: rows(lambda one: copula([stats.logistic(t[k], exp(t[2 + k])) for k in range(2)], t[4], one), x), "ratios",
        precision=1e-9),
    "GaussianCopulaBeta": Row(
        5, lambda t: dist.GaussianCopulaBeta(2 * t[:2].exp(), 3 * t[2:4].exp(), corr(t[4])),
        torch.stack([tensor(0.3, 0.2), tensor(1e-3, 0.9), tensor(0.99, 1e-6)]),
        lambda t, x: rows(lambda one: copula([stats.beta(2 * exp(t[k]), 3 * exp(t[2 + k])) for k in range(2)], t[4], one), x), "ratios",
        precision=1e-9),
    "GeneralizedExtremeValue": Row(
        3, lambda t: dist.GeneralizedExtremeValue(t[0], t[1].exp(), 0.6 * t[2]), tensor(-1.2, -1e-9, 0.3, 1.0, 2.5, 4.0),
        lambda t, x: stats.genextreme(-0.6 * t[2], t[0], exp(t[1])).logpdf(x)),
    "Gompertz": Row(
        2, lambda t: dist.Gompertz(t[0].exp(), t[1].exp()), POSITIVES[:6],
        lambda t, x: stats.gompertz(exp(t[0]), scale=exp(-t[1])).logpdf(x), moments=False),
    "GroupedNormalNormal": Row(
        5, lambda t: dist.GroupedNormalNormal(t[:2], t[2:4].exp(), t[4].exp(), torch.tensor([1, 0, 1])), THREE,
        lambda t, x: rows(lambda one: grouped(t, one), x), "ratios"),
    "Interpolated": Row(
        5, lambda t: dist.Interpolated(tensor(-2, -1.5, 0, 1, 2), t.exp()), tensor(-1.9, -1.5, 0.3, 1.0, 2.0),
        lambda t, x: np.log(np.interp(x, [-2, -1.5, 0, 1, 2], exp(t)) / np.trapezoid(exp(t), [-2, -1.5, 0, 1, 2])),
        differentiable=False),
    "Levy": Row(
        2, lambda t: dist.Levy(t[0] - 3, t[1].exp()), tensor(-1.2, 0.3, 12.0, 900.0, 1e9),
        lambda t, x: stats.levy(t[0] - 3, exp(t[1])).logpdf(x), moments=False),
    "LogLogistic": Row(
        2, lambda t: dist.LogLogistic(t[0].exp(), 6 * t[1].exp()), POSITIVES,
        lambda t, x: stats.fisk(6 * exp(t[1]), scale=exp(t[0])).logpdf(x)),
    "LogNormalNegativeBinomial": Row(
        3, lambda t: dist.LogNormalNegativeBinomial(t[0].exp(), t[1], 0.3 * t[2].exp(), num_quad_points=12), COUNTS[:6],
        lambda t, x: noisy_counts(exp(t[0]), t[1], 0.3 * exp(t[2]), x), "counts", precision=1e-4),
    "LogitNormal": Row(
        2, lambda t: dist.LogitNormal(t[0], t[1].exp()), UNITS,
        lambda t, x: stats.norm(t[0], exp(t[1])).logpdf(np.log(x) - np.log1p(-x)) - np.log(x) - np.log1p(-x), moments=False),
    "LowerTruncatedPowerLaw": Row(
        2, lambda t: dist.LowerTruncatedPowerLaw(-5 - t[0].exp(), t[1].exp()), tensor(2.5, 12.0, 900.0),
        lambda t, x: stats.pareto(4 + exp(t[0]), scale=exp(t[1])).logpdf(x)),
    "Moyal": Row(
        2, lambda t: dist.Moyal(t[0], t[1].exp()), REALS[2:], lambda t, x: stats.moyal(t[0], exp(t[1])).logpdf(x)),
    "Rayleigh": Row(
        1, lambda t: dist.Rayleigh(t[0].exp()), POSITIVES, lambda t, x: stats.rayleigh(scale=exp(t[0])).logpdf(x)),
    "Rice": Row(
        2, lambda t: dist.Rice(2 * t[0].exp(), t[1].exp()), POSITIVES,
        lambda t, x: by_mpmath(lambda v: rice(2 * exp(t[0]), exp(t[1]), v), x)),
    "Skellam": Row(
        2, lambda t: dist.Skellam(4 * t[0].exp(), 3 * t[1].exp()), tensor(-200, -30, -1, 0, 1, 2, 57, 58, 62, 900),
        lambda t, x: by_mpmath(lambda v: skellam(4 * exp(t[0]), 3 * exp(t[1]), v), x), "counts"),
    "SkewStudentT": Row(
        4, lambda t: dist.SkewStudentT(3 * t[0].exp(), 3 * t[1].exp(), t[2], t[3].exp()), REALS,
        lambda t, x: by_mpmath(lambda v: skew_t(3 * exp(t[0]), 3 * exp(t[1]), (v - t[2]) / exp(t[3])), x) - t[3]),
}  # fmt: skip
