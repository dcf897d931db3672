"""A hierarchy, a latent Gaussian process, and a mixture summed out."""

from __future__ import annotations

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks.posteriordb.case import Case
from sursum.distributions import constraints
from sursum.infer.reparam import LocScaleReparam


def schools(y: Tensor, sigma: Tensor) -> None:
    """An effect for each school, measured with a known error."""
    theta = su.param("theta", torch.zeros_like(y))
    with su.plate("school", len(y)):
        su.sample("y", dist.Normal(theta, sigma), obs=y)


def alike(theta: Tensor) -> dist.Distribution:
    """The effects come from one normal population."""
    return dist.Normal(su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0)))


def poisson_process(x: Tensor, k: Tensor) -> None:
    """Counts whose log rate is a smooth function: a Gaussian process with parameters, and standardised values of it."""
    rho = su.param("rho", x.new_tensor(6.0), constraint=constraints.positive)
    alpha = su.param("alpha", x.new_tensor(2.0), constraint=constraints.positive)
    z = su.param("z", torch.zeros_like(x))
    distance = (x[:, None] - x).square()
    covariance = alpha.square() * (-distance / (2 * rho.square())).exp() + 1e-10 * torch.eye(len(x), dtype=x.dtype)
    f = su.deterministic("f", torch.linalg.cholesky(covariance) @ z)
    with su.plate("input", len(x)):
        su.sample("k", dist.Poisson(f.exp()), obs=k)


def mixture(y: Tensor) -> None:
    """Two normal components, their means in order; which one a value comes from is summed out."""
    mu = su.param("mu", y.new_tensor([-1.0, 1.0]), constraint=constraints.ordered)
    sigma = su.param("sigma", y.new_ones(2), constraint=constraints.positive)
    theta = su.param("theta", y.new_tensor(0.5), constraint=constraints.unit_interval)
    components = dist.MixtureSameFamily(dist.Categorical(torch.stack([theta, 1 - theta])), dist.Normal(mu, sigma))
    with su.plate("value", len(y)):
        su.sample("y", components, obs=y)


GP_PRIORS = {"rho": dist.Gamma(25.0, 4.0), "alpha": dist.HalfNormal(2.0), "z": dist.Normal(0.0, 1.0)}
MIXTURE_PRIORS = {"mu": dist.Sorted(dist.Normal(0.0, 2.0), 2), "sigma": dist.HalfNormal(2.0), "theta": dist.Beta(5.0, 5.0)}

CASES = [
    Case(
        "eight_schools-eight_schools_noncentered",
        su.reparam(su.lift(schools, {"theta": alike}), {"theta": LocScaleReparam(0.0)}),
        lambda data: (data["y"], data["sigma"]),
        target_accept=0.95,
    ),
    Case(
        "gp_pois_regr-gp_pois_regr",
        su.lift(poisson_process, GP_PRIORS),
        lambda data: (data["x"], data["k"]),
        target_accept=0.99,
    ),
    Case("low_dim_gauss_mix-low_dim_gauss_mix", su.lift(mixture, MIXTURE_PRIORS), lambda data: (data["y"],)),
]
