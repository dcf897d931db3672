"""How long programs with a scan take to compile, by the number of its steps: they should take as long for ten thousand as for a
hundred. The time is that of the processor, once with an empty cache (the C compiler apart) and then with what is in it.

python benchmarks/scans.py [--steps 100 1000 10000] [--runs 3] [--engine native]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam


def arma(y: Tensor) -> None:
    """An ARMA(1, 1): the carry is what was seen and by how much it was missed."""
    phi, theta = su.sample("phi", dist.Normal(0.0, 0.5)), su.sample("theta", dist.Normal(0.0, 0.5))

    def step(carry: tuple[Tensor, Tensor], seen: Tensor) -> tuple[tuple[Tensor, Tensor], None]:
        before, error = carry
        predicted = phi * before + theta * error
        su.sample("y", dist.Normal(predicted, 1.0), obs=seen)
        return (seen, seen - predicted), None

    su.scan(step, (y.new_zeros(()), y.new_zeros(())), y)


def runge_kutta(y: Tensor) -> None:
    """Lotka and Volterra's equations, by the method of Runge and Kutta."""
    a, b = su.sample("a", dist.LogNormal(-0.5, 0.3)), su.sample("b", dist.LogNormal(-0.5, 0.3))

    def slope(z: Tensor) -> Tensor:
        return torch.stack([a * z[0] - z[0] * z[1], z[1] * 0.5 * z[0] - b * z[1]])

    def step(z: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        one = slope(z)
        two = slope(z + 0.025 * one)
        three = slope(z + 0.025 * two)
        z = z + 0.05 / 6 * (one + 2 * two + 2 * three + slope(z + 0.05 * three))
        su.sample("y", dist.Normal(z, 0.1).to_event(1), obs=seen)
        return z, None

    su.scan(step, torch.tensor([1.0, 0.5]), y[:, None].expand(-1, 2).abs())


def volatility(y: Tensor) -> None:
    """Stochastic volatility: every step has a latent site."""
    mu = su.sample("mu", dist.Normal(-1.0, 1.0))
    phi, sigma = su.sample("phi", dist.Uniform(-1.0, 1.0)), su.sample("sigma", dist.HalfNormal(0.5))

    def step(h: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        h = su.sample("h", dist.Normal(mu + phi * (h - mu), sigma))
        su.sample("y", dist.Normal(0.0, (h / 2).exp()), obs=seen)
        return h, h

    su.scan(step, mu, y)


def standardised(y: Tensor) -> None:
    """The same, its steps independent a priori, so that it must stay a loop."""
    su.reparam(volatility, {"h": LocScaleReparam(0.0)})(y)


def hidden_markov(y: Tensor) -> None:
    """A hidden Markov model of three states, summed out in the carry."""
    move = su.sample("move", dist.Dirichlet(torch.ones(3, 3)).to_event(1)).log()
    centre = su.sample("centre", dist.Normal(torch.tensor([-1.0, 0.0, 1.0]), 1.0).to_event(1))

    def step(alpha: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        return torch.logsumexp(alpha[:, None] + move, 0) + dist.Normal(centre, 1.0).log_prob(seen), None

    alpha, _ = su.scan(step, torch.full((3,), 1 / 3).log(), y)
    su.factor("seen", alpha.logsumexp(0))


PROGRAMS: tuple[Callable[[Tensor], None], ...] = (arma, runge_kutta, volatility, standardised, hidden_markov)


def seconds(program: Callable[[Tensor], None], y: Tensor, engine: str | None) -> float:
    begun = time.process_time()
    su.compile(program, y, engine=engine)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", choices=["native", "torch"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["SURSUM_CACHE"] = tempfile.mkdtemp()
    su.compile(arma, torch.zeros(3))  # what is found out of the machine, once
    print(f"{'':16}" + "".join(f"{steps:>16}" for steps in asked.steps) + f"{'last : first':>16}")
    for program in PROGRAMS:
        found = []
        for steps in asked.steps:
            y = torch.tensor(np.random.default_rng(0).normal(size=steps))
            runs = [seconds(program, y, asked.engine) for _ in range(1 + asked.runs)]
            found.append((runs[0], median(runs[1:])))
        ratios = [last / first for first, last in zip(found[0], found[-1], strict=True)]
        cells = [f"{cold:.2f} s, {warm:.2f} s" for cold, warm in found] + ["{:.2f}, {:.2f}".format(*ratios)]
        print(f"{program.__name__:16}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
