"""Time a gradient of programs with discrete sites: summed out, against the same sums written by hand.

python -m benchmarks.discrete
"""

from __future__ import annotations

import time

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist

K, N = 5, 10_000
STATES, STEPS = 16, 1_000


def _mixture() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    w = su.sample("w", dist.Dirichlet(torch.ones(K)))
    mu = su.sample("mu", dist.Normal(torch.zeros(K), 5.0).to_event(1))
    return w, mu, su.sample("s", dist.HalfNormal(torch.ones(K)).to_event(1))


def mixture(y: torch.Tensor) -> None:
    """Labels as sites."""
    w, mu, s = _mixture()
    with su.plate("data", len(y)):
        k = su.sample("k", dist.Categorical(w))
        su.sample("y", dist.Normal(mu[k], s[k]), obs=y)


def mixture_by_hand(y: torch.Tensor) -> None:
    """The same by a logsumexp."""
    w, mu, s = _mixture()
    su.factor("y", torch.logsumexp(w.log() + dist.Normal(mu, s).log_prob(y[:, None]), -1).sum())


def _chain() -> tuple[torch.Tensor, torch.Tensor]:
    mu = su.sample("mu", dist.Normal(torch.zeros(STATES), 1.0).to_event(1))
    return mu, su.sample("moves", dist.Dirichlet(torch.ones(STATES, STATES)).to_event(1))


def hidden_markov(y: torch.Tensor) -> None:
    """States as sites of a scan."""
    mu, moves = _chain()

    def step(z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, None]:
        z = su.sample("z", dist.Categorical(moves[z]))
        su.sample("y", dist.Normal(mu[z], 1.0), obs=y)
        return z, None

    su.scan(step, torch.tensor(0), y)


def hidden_markov_by_hand(y: torch.Tensor) -> None:
    """The same by the forward algorithm."""
    mu, moves = _chain()
    log_moves, seen = moves.log(), dist.Normal(mu, 1.0).log_prob(y[:, None])
    start = log_moves[0] + seen[0]
    alpha, _ = su.scan(lambda a, e: (torch.logsumexp(a[:, None] + log_moves, 0) + e, None), start, seen[1:])
    su.factor("y", torch.logsumexp(alpha, 0))


def main() -> None:
    """Print microseconds per value and gradient, the best of thirty, and seconds to compile."""
    generator = torch.Generator().manual_seed(0)
    many, series = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (N, STEPS))
    for program, y in ((mixture, many), (mixture_by_hand, many), (hidden_markov, series), (hidden_markov_by_hand, series)):
        began = time.perf_counter()
        density = su.compile(program, y)
        compiled = time.perf_counter() - began
        q = np.random.default_rng(1).normal(size=density.dim) * 0.3
        times = []
        for _ in range(30):
            began = time.perf_counter()
            density.value_and_grad(q)
            times.append(time.perf_counter() - began)
        print(f"{program.__name__:24} {1e6 * min(times):8.1f} µs, compiled in {compiled:.1f} s, by the {density.engine} engine")


if __name__ == "__main__":
    main()
