"""The benchmarks' models as Pyro programs; `models.py` has their mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch

from benchmarks import models


def eight_schools(error: Any, effect: Any) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0)))
    with pyro.plate("school", 8):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * z, error), obs=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = pyro.sample("mu_a", dist.Normal(0.0, 10.0))
    mu_b = pyro.sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = pyro.sample("sigma_a", dist.HalfNormal(1.0))
    sigma_b = pyro.sample("sigma_b", dist.HalfNormal(1.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("county", models.GROUPS):
        a = mu_a + sigma_a * pyro.sample("z_a", dist.Normal(0.0, 1.0))
        b = mu_b + sigma_b * pyro.sample("z_b", dist.Normal(0.0, 1.0))
    with pyro.plate("house", len(y)):
        pyro.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)


def poisson(county: Any, floor: Any, y: Any) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("county", models.GROUPS):
        effect = mu + sigma * pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("house", len(y)):
        pyro.sample("y", dist.Poisson(torch.exp(effect[county] + b * floor)), obs=y)


def logistic(x: Any, y: Any) -> None:
    alpha = pyro.sample("alpha", dist.Normal(0.0, 2.5))
    beta = pyro.sample("beta", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=alpha + x @ beta), obs=y)


def volatility(y: Any) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
    phi = pyro.sample("phi", dist.Uniform(-1.0, 1.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    u = z[0] / torch.sqrt(1.0 - phi * phi)
    found = [u]
    for t in range(1, len(y)):
        u = phi * u + z[t]
        found.append(u)
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(0.0, torch.exp(0.5 * (mu + sigma * torch.stack(found)))), obs=y)


def markov(y: Any) -> None:
    with pyro.plate("state", models.STATES):
        theta = pyro.sample("theta", dist.Dirichlet(torch.ones(models.STATES)))
        phi = pyro.sample("phi", dist.Dirichlet(torch.as_tensor(models.concentration())))
    moves, emitted = torch.log(theta), torch.log(phi).T[y]
    a = emitted[0] - torch.log(torch.tensor(float(models.STATES)))
    for t in range(1, len(y)):
        a = emitted[t] + torch.logsumexp(a[:, None] + moves, 0)
    pyro.factor("y", torch.logsumexp(a, 0))


def gaussian_process(x: Any, y: Any) -> None:
    alpha = pyro.sample("alpha", dist.HalfNormal(1.0))
    rho = pyro.sample("rho", dist.InverseGamma(torch.tensor(5.0), torch.tensor(5.0)))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    distance = (x[:, None] - x) ** 2
    cov = alpha**2 * torch.exp(-0.5 * distance / rho**2) + (sigma**2 + 1e-6) * torch.eye(len(x))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), scale_tril=torch.linalg.cholesky(cov)), obs=y)


def network(x: Any, y: Any) -> None:
    def weights(name: str, *shape: int) -> Any:
        return pyro.sample(name, dist.Normal(0.0, 1.0).expand(list(shape)).to_event(len(shape)))

    hidden = torch.tanh(x @ weights("w1", models.HIDDEN, x.shape[1]).T + weights("b1", models.HIDDEN))
    f = (hidden @ weights("w2", 1, models.HIDDEN).T + weights("b2", 1)).squeeze(-1)
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("point", len(y)):
        pyro.sample("y", dist.Normal(f, sigma), obs=y)


def correlated(county: Any, floor: Any, y: Any) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
    factor = pyro.sample("L", dist.LKJCholesky(2, torch.tensor(2.0)))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("county", models.GROUPS):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    effect = mu + z @ (s[:, None] * factor).T
    with pyro.plate("house", len(y)):
        pyro.sample("y", dist.Normal(effect[county, 0] + effect[county, 1] * floor, sigma), obs=y)


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
