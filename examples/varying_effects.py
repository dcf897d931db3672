"""Radon again: intercept and floor effect of each county vary together, with an LKJ prior on their correlation.

The program has one intercept and one floor effect per county. The prior draws each county's pair from a bivariate normal
of unknown means, standard deviations and correlation: it is a function that draws the standardised effects itself and
says by a `Delta` what they amount to.

    python examples/varying_effects.py  # prints the population's figures, writes out/varying_effects.png
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

DATA = Path(__file__).parent / "data" / "radon_mn.csv"
COUNTIES = 85


def read_survey() -> tuple[Tensor, Tensor, Tensor]:
    """County (0–84), floor (0 basement, 1 first floor) and log radon (log pCi/L) of every house."""
    with DATA.open() as file:
        rows = list(csv.DictReader(file))
    county = torch.tensor([int(row["county"]) - 1 for row in rows])
    floor, log_radon = (torch.tensor([float(row[name]) for row in rows]) for name in ("floor", "log_radon"))
    return county, floor, log_radon


def radon(county: Tensor, floor: Tensor, log_radon: Tensor | None = None) -> None:
    """The program: an intercept and a floor effect for each county."""
    effect = su.param("effect", torch.zeros(COUNTIES, 2))
    sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
    intercept, slope = effect[county].unbind(-1)
    with su.plate("house", len(floor)):
        su.sample("log_radon", dist.Normal(intercept + slope * floor, sigma), obs=log_radon)


def together(effect: Tensor) -> dist.Distribution:
    """Pairs from one bivariate normal: means, standard deviations, and the Cholesky factor of the correlation matrix."""
    mean = su.sample("mean", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    spread = su.sample("spread", dist.HalfNormal(torch.ones(2)).to_event(1))
    factor = su.sample("factor", dist.LKJCholesky(2, 2.0))
    su.deterministic("correlation", factor[1, 0])
    standardised = su.sample("standardised", dist.Normal(torch.zeros_like(effect), 1.0).to_event(2))
    return dist.Delta(mean + standardised @ (spread[:, None] * factor).mT).to_event(2)


def posterior(*data: Tensor, draws: int = 1000) -> su.Posterior:
    lifted = su.lift(radon, {"effect": together, "sigma": dist.HalfNormal(1.0)})
    kernel = su.infer.NUTS(lifted, target_accept=0.95)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(*data)


def main() -> su.Posterior:
    chosen = options(__doc__)
    county, floor, log_radon = read_survey()
    found = posterior(county, floor, log_radon, draws=chosen.draws)
    print(found.summary(["mean", "spread", "correlation", "sigma"]))

    effect = found["effect"].mean((0, 1)).numpy()
    houses = np.bincount(county.numpy(), minlength=COUNTIES)
    with picture(chosen.out / "varying_effects.png", panels=2, size=(11.0, 5.0)) as (left, right):
        left.scatter(effect[:, 0], effect[:, 1], s=4 * houses, alpha=0.6, color="C0", edgecolor="white")
        left.set_xlabel("county intercept: log radon in a basement (log pCi/L)")
        left.set_ylabel("effect of the first floor (log pCi/L)")
        left.set_title("Posterior means; area: houses measured")
        right.hist(found["correlation"].flatten().numpy(), bins=50, range=(-1, 1), density=True, color="C0", alpha=0.7)
        right.set_xlabel("correlation of intercept and floor effect")
        right.set_ylabel("posterior density")
        right.set_title("Do high-radon counties have a larger floor effect?")
    return found


if __name__ == "__main__":
    main()
