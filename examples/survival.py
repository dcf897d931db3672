"""Weeks in remission of 42 children with leukaemia, treated or not, some still in remission when the trial ended.

A Weibull model of survival with censoring (Gehan 1965 gives the data): who relapsed adds a log density, who did not yet
adds the logarithm of the probability of lasting at least so long.

    python examples/survival.py         # prints the effect of the treatment, writes out/survival.png
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

DATA = Path(__file__).parent / "data" / "leukemia.csv"


def read_trial() -> tuple[Tensor, Tensor, Tensor]:
    """Weeks observed, whether the child relapsed then (else it was in remission still), and whether it was treated."""
    with DATA.open() as file:
        rows = list(csv.DictReader(file))
    weeks, relapsed, treated = (torch.tensor([float(row[name]) for row in rows]) for name in ("weeks", "relapsed", "treated"))
    return weeks, relapsed.bool(), treated


def remission(weeks: Tensor, relapsed: Tensor, treated: Tensor) -> None:
    """The program: a Weibull time, whose scale the treatment multiplies by exp(effect)."""
    log_scale = su.param("log_scale", torch.tensor(2.0))
    effect = su.param("effect", torch.tensor(0.0))
    shape = su.param("shape", torch.tensor(1.0), constraint=constraints.positive)
    scale = (log_scale + effect * treated).exp()
    with su.plate("child", len(weeks)), su.poutine.mask(mask=relapsed):
        su.sample("weeks", dist.Weibull(scale, shape), obs=weeks)
    with su.plate("child", len(weeks)), su.poutine.mask(mask=~relapsed):
        su.factor("at_least", -((weeks / scale) ** shape))


def posterior(*data: Tensor, draws: int = 1000) -> su.Posterior:
    priors = {"log_scale": dist.Normal(2.0, 2.0), "effect": dist.Normal(0.0, 2.0), "shape": dist.LogNormal(0.0, 1.0)}
    kernel = su.infer.NUTS(su.lift(remission, priors))
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(*data)


def product_limit(weeks: np.ndarray, relapsed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Kaplan–Meier estimate: times, and the share still in remission after each."""
    times = np.unique(weeks[relapsed])
    shares = [1 - (relapsed & (weeks == t)).sum() / (weeks >= t).sum() for t in times]
    return np.concatenate([[0.0], times]), np.concatenate([[1.0], np.cumprod(shares)])


def main() -> su.Posterior:
    chosen = options(__doc__)
    data = read_trial()
    found = posterior(*data, draws=chosen.draws)
    print(found.summary())
    ratio = found["effect"].exp()
    low, middle, high = np.quantile(ratio.numpy(), [0.05, 0.5, 0.95])
    print(f"\nTreated, remission lasts {middle:.1f} times as long (90 % interval {low:.1f} to {high:.1f}).")

    weeks, relapsed, treated = (value.numpy() for value in data)
    grid = np.linspace(0.01, 36, 100)
    with picture(chosen.out / "survival.png") as axes:
        for group, colour, name in ((1.0, "C0", "treated (6-mercaptopurine)"), (0.0, "C3", "placebo")):
            scale = (found["log_scale"] + found["effect"] * group).exp().flatten().numpy()[:, None]
            shape = found["shape"].flatten().numpy()[:, None]
            low, middle, high = np.quantile(np.exp(-((grid / scale) ** shape)), [0.05, 0.5, 0.95], axis=0)
            axes.fill_between(grid, low, high, color=colour, alpha=0.2)
            axes.plot(grid, middle, color=colour, label=f"{name}: posterior median and 90 % interval")
            mine = treated == group
            axes.step(*product_limit(weeks[mine], relapsed[mine]), where="post", color=colour, linestyle="--", linewidth=1)
        axes.plot([], [], color="0.4", linestyle="--", linewidth=1, label="product-limit estimate (Kaplan–Meier)")
        axes.set_xlabel("weeks since the start of remission")
        axes.set_ylabel("share still in remission")
        axes.set_ylim(0, 1.02)
        axes.set_title("Leukaemia: time in remission")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
