"""Stochastic volatility: daily returns whose log variance wanders, with one latent step a day.

The data are simulated, so that the truth is known. The log volatility is an autoregression over the days, a `scan`; its
steps are standardised parameters.

    python examples/stochastic_volatility.py    # prints the parameters, writes out/stochastic_volatility.png
"""

from __future__ import annotations

import numpy as np
import torch
from tools import options, picture
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints

DAYS = 250
TRUTH = {"level": -0.5, "persistence": 0.95, "spread": 0.25}


def wander(level: Tensor, persistence: Tensor, spread: Tensor, steps: Tensor) -> Tensor:
    """h_t = level + φ (h_{t−1} − level) + spread·z_t, from h_0 = level + spread·z_0 / √(1 − φ²)."""

    def step(h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = level + persistence * (h - level) + spread * z
        return h, h

    first = level + spread * steps[0] / (1 - persistence.square()).sqrt()
    _, later = su.scan(step, first, steps[1:])
    return torch.cat([first[None], later])


def simulate(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns (percent), and the log volatility behind them."""
    generator = torch.Generator().manual_seed(seed)
    steps, noise = torch.randn(2, DAYS, generator=generator)
    h = wander(*(torch.tensor(value) for value in TRUTH.values()), steps)
    return noise * (h / 2).exp(), h


def returns(percent: Tensor) -> None:
    """The program: level, persistence and spread of the log volatility, and a standardised step for each day."""
    level = su.param("level", torch.tensor(0.0))
    persistence = su.param("persistence", torch.tensor(0.9), constraint=constraints.unit_interval)
    spread = su.param("spread", torch.tensor(0.2), constraint=constraints.positive)
    steps = su.param("steps", torch.zeros(len(percent)))
    h = su.deterministic("h", wander(level, persistence, spread, steps))
    with su.plate("day", len(percent)):
        su.sample("percent", dist.Normal(0.0, (h / 2).exp()), obs=percent)


def posterior(percent: Tensor, draws: int = 1000) -> su.Posterior:
    priors = {
        "level": dist.Normal(0.0, 2.0),
        "persistence": dist.Beta(20.0, 1.5),
        "spread": dist.HalfNormal(0.5),
        "steps": dist.Normal(0.0, 1.0),
    }
    kernel = su.infer.NUTS(su.lift(returns, priors), target_accept=0.99)
    return su.infer.MCMC(kernel, num_warmup=draws, num_samples=draws, num_chains=4, seed=0).run(percent)


def main() -> su.Posterior:
    chosen = options(__doc__)
    percent, h = simulate()
    found = posterior(percent, chosen.draws)
    print(found.summary(["level", "persistence", "spread"]))
    print("True values:", ", ".join(f"{name} {value}" for name, value in TRUTH.items()))

    low, middle, high = np.quantile((found["h"] / 2).exp().flatten(0, 1).numpy(), [0.05, 0.5, 0.95], axis=0)
    with picture(chosen.out / "stochastic_volatility.png") as axes:
        axes.bar(np.arange(DAYS), percent.abs().numpy(), color="0.8", width=1.0, label="size of the return")
        axes.fill_between(np.arange(DAYS), low, high, color="C0", alpha=0.3, label="volatility: 90 % interval")
        axes.plot(middle, color="C0", label="volatility: posterior median")
        axes.plot((h / 2).exp(), color="C3", linestyle="--", linewidth=1, label="true volatility")
        axes.set_xlabel("day")
        axes.set_ylabel("return, volatility (percent per day)")
        axes.set_title("Stochastic volatility: the standard deviation of a return, day by day")
        axes.legend(frameon=False)
    return found


if __name__ == "__main__":
    main()
