"""The benchmarks' models as sursum programs; `models.py` has their mathematics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks import models
from sursum.distributions import constraints
from sursum.infer.reparam import LocScaleReparam

NON_CENTRED = LocScaleReparam(0.0)


def _alike(scale: float) -> Callable[..., dist.Distribution]:
    """A prior for group effects: they share a mean and a deviation, which are drawn once."""

    def prior(init: Tensor, *, name: str) -> dist.Distribution:
        mean = su.sample(f"mu_{name}", dist.Normal(0.0, scale))
        return dist.Normal(mean, su.sample(f"sigma_{name}", dist.HalfNormal(1.0)))

    return prior


def eight_schools() -> Any:
    def program(error: Tensor, effect: Tensor) -> None:
        theta = su.param("theta", torch.zeros(8))
        with su.plate("school", 8):
            su.sample("y", dist.Normal(theta, error), obs=effect)

    def alike(theta: Tensor) -> dist.Distribution:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0)))

    return su.reparam(su.lift(program, {"theta": alike}), {"theta": NON_CENTRED})


def radon() -> Any:
    def program(county: Tensor, floor: Tensor, y: Tensor) -> None:
        a = su.param("a", torch.zeros(models.GROUPS))
        b = su.param("b", torch.zeros(models.GROUPS))
        sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
        with su.plate("house", len(y)):
            su.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)

    lifted = su.lift(program, {"a": _alike(10.0), "b": _alike(10.0), "sigma": dist.HalfNormal(1.0)})
    return su.reparam(lifted, {"a": NON_CENTRED, "b": NON_CENTRED})


def poisson() -> Any:
    def program(county: Tensor, floor: Tensor, y: Tensor) -> None:
        effect = su.param("effect", torch.zeros(models.GROUPS))
        b = su.param("b", torch.tensor(0.0))
        with su.plate("house", len(y)):
            su.sample("y", dist.Poisson(torch.exp(effect[county] + b * floor)), obs=y)

    def alike(effect: Tensor) -> dist.Distribution:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), su.sample("sigma", dist.HalfNormal(1.0)))

    lifted = su.lift(program, {"effect": alike, "b": dist.Normal(0.0, 1.0)})
    return su.reparam(lifted, {"effect": NON_CENTRED})


def logistic() -> Any:
    def program(x: Tensor, y: Tensor) -> None:
        alpha = su.param("alpha", torch.tensor(0.0))
        beta = su.param("beta", torch.zeros(x.shape[1]))
        with su.plate("row", len(y)):
            su.sample("y", dist.Bernoulli(logits=alpha + x @ beta), obs=y)

    return su.lift(program, {"alpha": dist.Normal(0.0, 2.5), "beta": dist.Normal(0.0, 1.0)})


def volatility() -> Any:
    def program(y: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(0.0, 2.0))
        phi = su.sample("phi", dist.Uniform(-1.0, 1.0))
        sigma = su.sample("sigma", dist.HalfNormal(1.0))
        with su.plate("time", len(y)):
            z = su.sample("z", dist.Normal(0.0, 1.0))
        first = z[0] / torch.sqrt(1.0 - phi * phi)

        def step(u: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            u = phi * u + z
            return u, u

        _, rest = su.scan(step, first, z[1:])
        u = torch.cat([first[None], rest])
        with su.plate("time", len(y)):
            su.sample("y", dist.Normal(0.0, torch.exp(0.5 * (mu + sigma * u))), obs=y)

    return program


def markov() -> Any:
    def program(y: Tensor) -> None:
        with su.plate("state", models.STATES):
            theta = su.sample("theta", dist.Dirichlet(torch.ones(models.STATES)))
            phi = su.sample("phi", dist.Dirichlet(torch.as_tensor(models.concentration())))
        moves, emitted = torch.log(theta), torch.log(phi).T[y]

        def step(a: Tensor, emitted: Tensor) -> tuple[Tensor, None]:
            return emitted + torch.logsumexp(a[:, None] + moves, 0), None

        a, _ = su.scan(step, emitted[0] - math.log(models.STATES), emitted[1:])
        su.factor("y", torch.logsumexp(a, 0))

    return program


def gaussian_process() -> Any:
    def program(x: Tensor, y: Tensor) -> None:
        alpha = su.sample("alpha", dist.HalfNormal(1.0))
        rho = su.sample("rho", dist.InverseGamma(5.0, 5.0))
        sigma = su.sample("sigma", dist.HalfNormal(1.0))
        distance = (x[:, None] - x) ** 2
        cov = alpha**2 * torch.exp(-0.5 * distance / rho**2) + (sigma**2 + 1e-6) * torch.eye(len(x))
        su.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), scale_tril=torch.linalg.cholesky(cov)), obs=y)

    return program


def network() -> Any:
    net = torch.nn.Sequential(torch.nn.Linear(10, models.HIDDEN), torch.nn.Tanh(), torch.nn.Linear(models.HIDDEN, 1)).double()

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
        with su.plate("point", len(y)):
            su.sample("y", dist.Normal(f, sigma), obs=y)

    return su.lift(program, {"net.**": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)})


def correlated() -> Any:
    def program(county: Tensor, floor: Tensor, y: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
        s = su.sample("s", dist.HalfNormal(1.0).expand([2]).to_event(1))
        factor = su.sample("L", dist.LKJCholesky(2, 2.0))
        sigma = su.sample("sigma", dist.HalfNormal(1.0))
        with su.plate("county", models.GROUPS):
            z = su.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        effect = mu + z @ (s[:, None] * factor).T
        with su.plate("house", len(y)):
            su.sample("y", dist.Normal(effect[county, 0] + effect[county, 1] * floor, sigma), obs=y)

    return program


PROGRAMS: dict[str, Callable[[], Any]] = {
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


def load(model: str) -> tuple[Any, tuple[Tensor, ...]]:
    """The program of a model and its data."""
    return PROGRAMS[model](), tuple(torch.from_numpy(part) for part in models.MODELS[model].data().values())
