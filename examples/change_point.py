"""Coal-mining disasters in Britain, 1851 to 1961: in which year did the rate fall?

The year is a discrete site, which the density sums out: it adds up all years at once. `discrete_probabilities` gives the
posterior of the year at each draw of the rates.

    python examples/change_point.py     # prints the rates and the year, writes out/change_point.png
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

DATA = Path(__file__).parent / "data" / "coal.csv"


def read_disasters() -> tuple[np.ndarray, Tensor]:
    """The years, and the disasters in each."""
    with DATA.open() as file:
        rows = list(csv.DictReader(file))
    return np.array([int(row["year"]) for row in rows]), torch.tensor([float(row["disasters"]) for row in rows])


def mining(disasters: Tensor) -> None:
    """The program: a rate before the switch, a rate from the switch on, and any year but the first alike for the switch."""
    early = su.param("early", torch.tensor(2.0), constraint=constraints.positive)
    late = su.param("late", torch.tensor(2.0), constraint=constraints.positive)
    switch = su.sample("switch", dist.DiscreteUniform(1, len(disasters) - 1))
    with su.plate("year", len(disasters)):
        rate = torch.where(torch.arange(len(disasters)) < switch, early, late)
        su.sample("disasters", dist.Poisson(rate), obs=disasters)


def posterior(disasters: Tensor, draws: int = 1000) -> su.Posterior:
    """The rates are lifted; the year is summed out."""
    lifted = su.lift(mining, {"early": dist.Exponential(1.0), "late": dist.Exponential(1.0)})
    return su.infer.MCMC(su.infer.NUTS(lifted), num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(disasters)


def main() -> su.Posterior:
    chosen = options(__doc__)
    years, disasters = read_disasters()
    found = posterior(disasters, chosen.draws)
    given_rates = su.infer.discrete_probabilities(found)["switch"]
    switch = given_rates.mean((0, 1)).numpy()
    print(found.summary(["early", "late"]))
    best = int(switch.argmax())
    print(f"\nThe rate fell in {years[1 + best]} with probability {switch[best]:.2f};")
    print(f"between 1886 and 1896 with probability {switch[(years[1:] >= 1886) & (years[1:] <= 1896)].sum():.2f}.")

    # The expected rate in each year: late where the switch is at or before it.
    fallen = torch.cat([torch.zeros(*given_rates.shape[:2], 1), given_rates.cumsum(-1)], -1)
    rate = found["early"][..., None] * (1 - fallen) + found["late"][..., None] * fallen
    low, middle, high = np.quantile(rate.flatten(0, 1).numpy(), [0.05, 0.5, 0.95], axis=0)
    with picture(chosen.out / "change_point.png") as axes:
        axes.bar(years, disasters.numpy(), color="0.8", width=0.8, label="disasters in the year")
        axes.fill_between(years, low, high, color="C0", alpha=0.3, label="rate: 90 % interval")
        axes.plot(years, middle, color="C0", label="rate: posterior median")
        axes.bar(years[1:], switch * 10, color="C3", alpha=0.7, width=0.8, label="probability of the switch (10 = certain)")
        axes.set_xlabel("year")
        axes.set_ylabel("disasters per year")
        axes.set_title("Coal-mining disasters in Britain: when did the rate fall?")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
