"""Eight schools (Rubin 1981): the effect of coaching on test scores, estimated in eight schools that resemble each other.

python examples/eight_schools.py
"""

from __future__ import annotations

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam

EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(error: Tensor, effect: Tensor | None = None) -> None:
    """The program: one parameter for each school's true effect, measured with a known error."""
    theta = su.param("theta", torch.zeros(len(error)))
    with su.plate("school", len(error)):
        su.sample("effect", dist.Normal(theta, error), obs=effect)


def schools_alike(theta: Tensor) -> dist.Distribution:
    """The schools' effects come from one population, of unknown mean and spread."""
    mu = su.sample("mu", dist.Normal(0.0, 5.0))
    tau = su.sample("tau", dist.HalfCauchy(5.0))
    return dist.Normal(mu, tau)


def lifted() -> su.reparam:
    """The program with the prior, its effects standardised for the sampler's sake."""
    return su.reparam(su.lift(schools, {"theta": schools_alike}), {"theta": LocScaleReparam(0.0)})


def main(draws: int = 1000) -> su.Posterior:
    kernel = su.infer.NUTS(lifted(), target_accept=0.9)
    mcmc = su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0)
    posterior = mcmc.run(ERROR, EFFECT)
    print(posterior.summary(["mu", "tau", "theta"]))
    return posterior


if __name__ == "__main__":
    main()
