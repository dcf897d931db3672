"""Radon in 919 Minnesota houses: a program with one parameter per county, fitted by maximum likelihood, then lifted.

The point estimate treats every county alone, so a county with two houses gets whatever those two say. Lifted with a
hierarchical prior, the same program, untouched, lets counties learn from each other.

    python examples/radon.py            # prints both fits, writes out/radon.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.infer.reparam import LocScaleReparam

DATA = Path(__file__).parent / "data" / "radon_mn.csv"
COUNTIES = 85


def read_survey() -> tuple[Tensor, Tensor, Tensor]:
    """County (0–84), floor (0 basement, 1 first floor) and log radon (log pCi/L) of every house."""
    with DATA.open() as file:
        rows = list(csv.DictReader(file))
    county = torch.tensor([int(row["county"]) - 1 for row in rows])
    floor = torch.tensor([float(row["floor"]) for row in rows])
    log_radon = torch.tensor([float(row["log_radon"]) for row in rows])
    return county, floor, log_radon


def radon(county: Tensor, floor: Tensor, log_radon: Tensor | None = None) -> None:
    """The program: an intercept for each county, one slope for the floor, one standard deviation."""
    intercept = su.param("intercept", torch.zeros(COUNTIES))
    slope = su.param("slope", torch.tensor(0.0))
    sigma = su.param("sigma", torch.tensor(1.0), constraint=constraints.positive)
    with su.plate("house", len(floor)):
        su.sample("log_radon", dist.Normal(intercept[county] + slope * floor, sigma), obs=log_radon)


def counties_alike(intercept: Tensor) -> dist.Distribution:
    """A prior that is itself a program: the counties' mean and spread are unknown, too."""
    mean = su.sample("mean", dist.Normal(0.0, 10.0))
    spread = su.sample("spread", dist.HalfNormal(1.0))
    return dist.Normal(mean, spread)


def maximum_likelihood(*data: Tensor) -> su.infer.FitResult:
    """The parameters at which the likelihood is largest."""
    return su.infer.Fit(radon).run(*data)


def posterior(*data: Tensor, draws: int = 1000, chains: int = 4, seed: int = 1) -> su.Posterior:
    """The posterior of the same program, lifted."""
    priors = {"intercept": counties_alike, "slope": dist.Normal(0.0, 10.0), "sigma": dist.HalfNormal(1.0)}
    lifted = su.reparam(su.lift(radon, priors), {"intercept": LocScaleReparam(0.0)})
    mcmc = su.infer.MCMC(su.infer.NUTS(lifted), num_warmup=draws, num_samples=draws, num_chains=chains, seed=seed)
    return mcmc.run(*data)


def picture(path: Path, houses: np.ndarray, alone: np.ndarray, together: np.ndarray, mean: float) -> None:
    """County intercepts of both fits against the number of houses: the fewer the houses, the stronger the shrinkage."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    x = houses * np.exp(rng.uniform(-0.06, 0.06, len(houses)))
    low, middle, high = np.quantile(together, [0.05, 0.5, 0.95], axis=0)
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    axes.axhline(mean, color="0.6", linewidth=1, linestyle="--", label="posterior mean of all counties")
    axes.vlines(x, low, high, color="C0", alpha=0.35, linewidth=2, label="lifted: 90 % interval")
    axes.plot(np.stack([x, x]), np.stack([alone, middle]), color="0.75", linewidth=0.7, zorder=1)
    axes.plot(x, alone, "o", color="C3", markersize=4, markerfacecolor="white", label="maximum likelihood, county by county")
    axes.plot(x, middle, "o", color="C0", markersize=4, label="lifted: posterior median")
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.set_xlabel("houses measured in the county")
    axes.set_ylabel("county intercept: log radon in a basement (log pCi/L)")
    axes.set_title("Radon in 85 Minnesota counties: the same program, fitted and lifted")
    axes.legend(frameon=False, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="draws per chain, and as many of warm-up")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the picture goes")
    options = parser.parse_args()

    data = read_survey()
    houses = torch.bincount(data[0], minlength=COUNTIES)
    fitted = maximum_likelihood(*data)
    draws = posterior(*data, draws=options.draws)
    intercepts = draws["intercept"].flatten(0, 1)

    print("Maximum likelihood, every county alone")
    print(fitted)
    print("\nLifted, counties alike")
    print(draws.summary(["slope", "sigma", "mean", "spread"]))
    print("\nShrinkage: intercept (log pCi/L), counties with the fewest and the most houses")
    print("  county  houses  maximum likelihood  posterior median (90 % interval)")
    order = houses.argsort(stable=True)
    for county in [*order[:4].tolist(), *order[-4:].tolist()]:
        low, middle, high = torch.quantile(intercepts[:, county], torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
        alone = float(fitted["intercept"][county])
        print(f"  {county + 1:6d}  {int(houses[county]):6d}  {alone:18.2f}  {middle:16.2f} ({low:.2f} to {high:.2f})")

    path = options.out / "radon.png"
    picture(path, houses.numpy(), fitted["intercept"].numpy(), intercepts.numpy(), float(draws["mean"].mean()))
    print(f"\nPicture: {path}")
    return {"fitted": fitted, "posterior": draws}


if __name__ == "__main__":
    main()
