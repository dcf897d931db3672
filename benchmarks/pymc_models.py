"""The benchmarks' models as PyMC programs; `models.py` has their mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pymc as pm
import pytensor
import pytensor.tensor as pt

from benchmarks import models


def eight_schools(error: Any, effect: Any) -> None:
    mu = pm.Normal("mu", 0.0, 5.0)
    tau = pm.HalfCauchy("tau", 5.0)
    z = pm.Normal("z", 0.0, 1.0, shape=8)
    pm.Normal("y", mu + tau * z, error, observed=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = pm.Normal("mu_a", 0.0, 10.0)
    mu_b = pm.Normal("mu_b", 0.0, 10.0)
    sigma_a = pm.HalfNormal("sigma_a", 1.0)
    sigma_b = pm.HalfNormal("sigma_b", 1.0)
    sigma = pm.HalfNormal("sigma", 1.0)
    a = mu_a + sigma_a * pm.Normal("z_a", 0.0, 1.0, shape=models.GROUPS)
    b = mu_b + sigma_b * pm.Normal("z_b", 0.0, 1.0, shape=models.GROUPS)
    pm.Normal("y", a[county] + b[county] * floor, sigma, observed=y)


def poisson(county: Any, floor: Any, y: Any) -> None:
    mu = pm.Normal("mu", 0.0, 1.0)
    b = pm.Normal("b", 0.0, 1.0)
    sigma = pm.HalfNormal("sigma", 1.0)
    effect = mu + sigma * pm.Normal("z", 0.0, 1.0, shape=models.GROUPS)
    pm.Poisson("y", pm.math.exp(effect[county] + b * floor), observed=y)


def logistic(x: Any, y: Any) -> None:
    alpha = pm.Normal("alpha", 0.0, 2.5)
    beta = pm.Normal("beta", 0.0, 1.0, shape=x.shape[1])
    pm.Bernoulli("y", logit_p=alpha + pt.dot(x, beta), observed=y)


def volatility(y: Any) -> None:
    mu = pm.Normal("mu", 0.0, 2.0)
    phi = pm.Uniform("phi", -1.0, 1.0)
    sigma = pm.HalfNormal("sigma", 1.0)
    z = pm.Normal("z", 0.0, 1.0, shape=len(y))
    first = z[0] / pt.sqrt(1.0 - phi * phi)
    rest, _ = pytensor.scan(lambda z, u, phi: phi * u + z, sequences=[z[1:]], outputs_info=[first], non_sequences=[phi])
    u = pt.concatenate([first[None], rest])
    pm.Normal("y", 0.0, pm.math.exp(0.5 * (mu + sigma * u)), observed=y)


def _log_sum_exp(x: Any, axis: int) -> Any:
    """Written out: the gradient of `pm.logsumexp` inside of a scan is NaN (PyMC 5.28, PyTensor's scan)."""
    top = pt.max(x, axis=axis, keepdims=True)
    return pt.log(pt.sum(pt.exp(x - top), axis=axis)) + top.squeeze(axis)


def markov(y: Any) -> None:
    theta = pm.Dirichlet("theta", [[1.0] * models.STATES] * models.STATES)
    phi = pm.Dirichlet("phi", models.concentration())
    moves, emitted = pt.log(theta), pt.log(phi).T[y]
    last, _ = pytensor.scan(
        lambda emitted, a, moves: emitted + _log_sum_exp(a[:, None] + moves, axis=0),
        sequences=[emitted[1:]],
        outputs_info=[emitted[0] - pt.log(models.STATES)],
        non_sequences=[moves],
    )
    pm.Potential("y", pt.logsumexp(last[-1]))


def gaussian_process(x: Any, y: Any) -> None:
    alpha = pm.HalfNormal("alpha", 1.0)
    rho = pm.InverseGamma("rho", 5.0, 5.0)
    sigma = pm.HalfNormal("sigma", 1.0)
    distance = (x[:, None] - x) ** 2
    cov = alpha**2 * pt.exp(-0.5 * distance / rho**2) + (sigma**2 + 1e-6) * pt.eye(len(x))
    pm.MvNormal("y", pt.zeros(len(x)), chol=pt.linalg.cholesky(cov), observed=y)


def network(x: Any, y: Any) -> None:
    w1, b1 = pm.Normal("w1", 0.0, 1.0, shape=(models.HIDDEN, x.shape[1])), pm.Normal("b1", 0.0, 1.0, shape=models.HIDDEN)
    w2, b2 = pm.Normal("w2", 0.0, 1.0, shape=models.HIDDEN), pm.Normal("b2", 0.0, 1.0)
    sigma = pm.HalfNormal("sigma", 1.0)
    pm.Normal("y", pt.dot(pt.tanh(pt.dot(x, w1.T) + b1), w2) + b2, sigma, observed=y)


def correlated(county: Any, floor: Any, y: Any) -> None:
    mu = pm.Normal("mu", 0.0, 10.0, shape=2)
    factor, _, s = pm.LKJCholeskyCov("L", n=2, eta=2.0, sd_dist=pm.HalfNormal.dist(1.0, shape=2), compute_corr=True)
    pm.Deterministic("s", s)
    sigma = pm.HalfNormal("sigma", 1.0)
    z = pm.Normal("z", 0.0, 1.0, shape=(models.GROUPS, 2))
    effect = mu + pt.dot(z, factor.T)
    pm.Normal("y", effect[county, 0] + effect[county, 1] * floor, sigma, observed=y)


PROGRAMS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "radon": radon,
    "poisson": poisson,
    "logistic_small": logistic,
    "logistic_large": logistic,
    "volatility": volatility,
    "markov": markov,
    "gaussian_process": gaussian_process,
    "network": network,
    "correlated": correlated,
}
