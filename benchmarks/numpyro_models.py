"""The benchmarks' models as NumPyro programs; `models.py` has their mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from benchmarks import models


def eight_schools(error: Any, effect: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", 8):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, error), obs=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = numpyro.sample("mu_a", dist.Normal(0.0, 10.0))
    mu_b = numpyro.sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = numpyro.sample("sigma_a", dist.HalfNormal(1.0))
    sigma_b = numpyro.sample("sigma_b", dist.HalfNormal(1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("county", models.GROUPS):
        a = mu_a + sigma_a * numpyro.sample("z_a", dist.Normal(0.0, 1.0))
        b = mu_b + sigma_b * numpyro.sample("z_b", dist.Normal(0.0, 1.0))
    with numpyro.plate("house", len(y)):
        numpyro.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)


def poisson(county: Any, floor: Any, y: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("county", models.GROUPS):
        effect = mu + sigma * numpyro.sample("z", dist.Normal(0.0, 1.0))
    with numpyro.plate("house", len(y)):
        numpyro.sample("y", dist.Poisson(jnp.exp(effect[county] + b * floor)), obs=y)


def logistic(x: Any, y: Any) -> None:
    alpha = numpyro.sample("alpha", dist.Normal(0.0, 2.5))
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=alpha + x @ beta), obs=y)


def volatility(y: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    phi = numpyro.sample("phi", dist.Uniform(-1.0, 1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))

    def step(u: Any, z: Any) -> tuple[Any, Any]:
        u = phi * u + z
        return u, u

    first = z[0] / jnp.sqrt(1.0 - phi * phi)
    _, rest = jax.lax.scan(step, first, z[1:])
    u = jnp.concatenate([first[None], rest])
    with numpyro.plate("time", len(y)):
        numpyro.sample("y", dist.Normal(0.0, jnp.exp(0.5 * (mu + sigma * u))), obs=y)


def markov(y: Any) -> None:
    with numpyro.plate("state", models.STATES):
        theta = numpyro.sample("theta", dist.Dirichlet(jnp.ones(models.STATES)))
        phi = numpyro.sample("phi", dist.Dirichlet(jnp.asarray(models.concentration())))
    moves, emitted = jnp.log(theta), jnp.log(phi).T[y]

    def step(a: Any, emitted: Any) -> tuple[Any, None]:
        return emitted + jax.scipy.special.logsumexp(a[:, None] + moves, axis=0), None

    a, _ = jax.lax.scan(step, emitted[0] - jnp.log(models.STATES), emitted[1:])
    numpyro.factor("y", jax.scipy.special.logsumexp(a))


def gaussian_process(x: Any, y: Any) -> None:
    alpha = numpyro.sample("alpha", dist.HalfNormal(1.0))
    rho = numpyro.sample("rho", dist.InverseGamma(5.0, 5.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    distance = (x[:, None] - x) ** 2
    cov = alpha**2 * jnp.exp(-0.5 * distance / rho**2) + (sigma**2 + 1e-6) * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(len(x)), scale_tril=jnp.linalg.cholesky(cov)), obs=y)


def network(x: Any, y: Any) -> None:
    def weights(name: str, *shape: int) -> Any:
        return numpyro.sample(name, dist.Normal(0.0, 1.0).expand(list(shape)).to_event(len(shape)))

    hidden = jnp.tanh(x @ weights("w1", models.HIDDEN, x.shape[1]).T + weights("b1", models.HIDDEN))
    f = (hidden @ weights("w2", 1, models.HIDDEN).T + weights("b2", 1)).squeeze(-1)
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("point", len(y)):
        numpyro.sample("y", dist.Normal(f, sigma), obs=y)


def correlated(county: Any, floor: Any, y: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    s = numpyro.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
    factor = numpyro.sample("L", dist.LKJCholesky(2, 2.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("county", models.GROUPS):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    effect = mu + z @ (s[:, None] * factor).T
    with numpyro.plate("house", len(y)):
        numpyro.sample("y", dist.Normal(effect[county, 0] + effect[county, 1] * floor, sigma), obs=y)


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
