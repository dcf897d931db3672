"""Eight schools (Rubin 1981): the effect of coaching on test scores, estimated in eight schools that resemble each other.

python examples/eight_schools.py    # prints the effects, writes out/eight_schools.png
"""

from __future__ import annotations

import numpy as np
import torch
from tools import options, picture
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


def posterior(draws: int = 1000) -> su.Posterior:
    kernel = su.infer.NUTS(lifted(), target_accept=0.95)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(ERROR, EFFECT)


def main() -> su.Posterior:
    chosen = options(__doc__)
    found = posterior(chosen.draws)
    print(found.summary(["mu", "tau", "theta"]))

    low, middle, high = np.quantile(found["theta"].flatten(0, 1).numpy(), [0.05, 0.5, 0.95], axis=0)
    place = np.arange(8)
    with picture(chosen.out / "eight_schools.png") as axes:
        axes.axhline(float(found["mu"].mean()), color="0.6", linewidth=1, linestyle="--", label="posterior mean of all schools")
        axes.errorbar(
            place - 0.1, EFFECT, 1.645 * ERROR, fmt="o", color="C3", markerfacecolor="white", label="each school alone"
        )
        axes.errorbar(
            place + 0.1, middle, np.stack([middle - low, high - middle]), fmt="o", color="C0", label="lifted: together"
        )
        axes.set_xticks(place, list("ABCDEFGH"))
        axes.set_xlabel("school")
        axes.set_ylabel("effect of coaching (points), with 90 % interval")
        axes.set_title("Eight schools: each alone, and together")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
