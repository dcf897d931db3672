"""Waiting times between eruptions of Old Faithful: a mixture of two normal distributions, without a `logsumexp`.

Which of the two an eruption belongs to is a discrete site; the density sums it out by itself, and `discrete_probabilities`
gives it back. The means are ordered, so that the two cannot change places between draws.

    python examples/mixture.py          # prints both components, writes out/mixture.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

DATA = Path(__file__).parent / "data" / "faithful.csv"


def read_waits() -> Tensor:
    """Minutes between eruptions."""
    return torch.tensor([float(line) for line in DATA.read_text().split()[1:]])


def waiting(minutes: Tensor) -> None:
    """The program: two means in order, two standard deviations, and the share of the shorter waits."""
    share = su.param("share", torch.tensor(0.5), constraint=constraints.unit_interval)
    mean = su.param("mean", torch.tensor([60.0, 80.0]), constraint=constraints.ordered)
    sigma = su.param("sigma", torch.tensor([5.0, 5.0]), constraint=constraints.positive)
    with su.plate("eruption", len(minutes)):
        kind = su.sample("kind", dist.Categorical(torch.stack([share, 1 - share])))
        su.sample("minutes", dist.Normal(mean[kind], sigma[kind]), obs=minutes)


def posterior(minutes: Tensor, draws: int = 1000) -> su.Posterior:
    priors = {"share": dist.Uniform(0.0, 1.0), "mean": su.priors.flat, "sigma": dist.HalfNormal(20.0)}
    kernel = su.infer.NUTS(su.lift(waiting, priors))
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(minutes)


def densities(found: su.Posterior, at: Tensor) -> Tensor:
    """The weighted densities of both components, (draw, place, component)."""
    share, mean, sigma = (found[name].flatten(0, 1) for name in ("share", "mean", "sigma"))
    weights = torch.stack([share, 1 - share], -1)[:, None]
    return weights * dist.Normal(mean[:, None], sigma[:, None]).log_prob(at[:, None]).exp()


def main() -> su.Posterior:
    chosen = options(__doc__)
    minutes = read_waits()
    found = posterior(minutes, chosen.draws)
    print(found.summary())
    long_ones = su.infer.discrete_probabilities(found)["kind"][..., 1].mean((0, 1))
    print(f"\n{float(long_ones.sum()):.0f} of the {len(minutes)} waits are long ones.")

    at = torch.linspace(40, 100, 121, dtype=torch.float64)
    parts = densities(found, at)
    long = parts[..., 1] / parts.sum(-1)
    print(f"A wait of 68 minutes is a long one with probability {float(long[:, at == 68.0].mean()):.2f}.")
    with picture(chosen.out / "mixture.png") as axes:
        axes.hist(minutes.numpy(), bins=np.arange(40, 101, 2.5), density=True, color="0.85", label="272 waits")
        low, middle, high = np.quantile(parts.sum(-1).numpy(), [0.05, 0.5, 0.95], axis=0)
        axes.fill_between(at, low, high, color="C0", alpha=0.3, label="density: 90 % interval")
        axes.plot(at, middle, color="C0", label="density: posterior median")
        for k, name in enumerate(("short", "long")):
            axes.plot(at, parts[..., k].mean(0), color=f"C{k + 1}", linestyle="--", linewidth=1, label=f"{name} waits")
        axes.set_xlabel("minutes until the next eruption")
        axes.set_ylabel("density (1/minute)")
        axes.set_title("Old Faithful: two kinds of waits")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
