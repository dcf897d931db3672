"""Time a gradient of programs with discrete sites: summed out, against the same sums written by hand, and against peers.

    python -m benchmarks.discrete [--quick] [--peers PYTHON]

PYTHON is an interpreter that has NumPyro (with funsor) and Pyro, which run `discrete_peers.py` on data of the same sizes. A
peer that needs more than 45 seconds for a program is left out of its row, so that a run ends within eight minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist

K, N = 5, 10_000
STATES, STEPS = 16, 1_000
PARTS, ANIMALS, OCCASIONS = 4, 200, 10

PEERS, LIMIT = ("NumPyro", "Pyro"), 45


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


def _factors() -> tuple[torch.Tensor, torch.Tensor]:
    stay = su.sample("stay", dist.Beta(torch.full((2,), 8.0), 2.0).to_event(1))
    return stay, su.sample("height", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def factorial(y: torch.Tensor) -> None:
    """Two chains of `PARTS` states each, which are seen in their sum."""
    stay, height = _factors()
    moves = [_moves(stay[k]) for k in range(2)]
    levels = torch.arange(PARTS, dtype=y.dtype)

    def step(z: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], None]:
        a = su.sample("a", dist.Categorical(moves[0][z[0]]))
        b = su.sample("b", dist.Categorical(moves[1][z[1]]))
        su.sample("y", dist.Normal(height[0] * levels[a] + height[1] * levels[b], 1.0), obs=y)
        return (a, b), None

    su.scan(step, (torch.tensor(0), torch.tensor(0)), y)


def factorial_by_hand(y: torch.Tensor) -> None:
    """The same by the forward algorithm over pairs, one chain's move at a time."""
    stay, height = _factors()
    first, second = (_moves(stay[k]).log() for k in range(2))
    levels = torch.arange(PARTS, dtype=y.dtype)
    seen = dist.Normal((height[0] * levels)[:, None] + height[1] * levels, 1.0).log_prob(y[:, None, None])

    def step(ahead: torch.Tensor, now: torch.Tensor) -> tuple[torch.Tensor, None]:
        moved = torch.logsumexp(ahead[:, None, :] + first[:, :, None], 0)
        return torch.logsumexp(moved[:, :, None] + second, 1) + now, None

    start = first[0][:, None] + second[0] + seen[0]
    ahead, _ = su.scan(step, start, seen[1:])
    su.factor("y", torch.logsumexp(ahead, (0, 1)))


def _moves(stay: torch.Tensor) -> torch.Tensor:
    same = torch.eye(PARTS, dtype=stay.dtype)
    return stay * same + (1 - stay) * (1 - same) / (PARTS - 1)


def _survival() -> tuple[torch.Tensor, torch.Tensor]:
    return su.sample("survives", dist.Beta(2.0, 2.0)), su.sample("seen", dist.Beta(2.0, 2.0))


def capture_recapture(y: torch.Tensor) -> None:
    """Animals that were marked, and are caught again as long as they live: (occasions, animals)."""
    survives, seen = _survival()
    with su.plate("animals", y.shape[1]):

        def step(alive: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, None]:
            alive = su.sample("alive", dist.Bernoulli(survives * alive))
            su.sample("y", dist.Bernoulli(seen * alive), obs=y)
            return alive, None

        su.scan(step, torch.ones(y.shape[1], dtype=y.dtype), y)


def capture_recapture_by_hand(y: torch.Tensor) -> None:
    """The same with the probability that an animal is not caught after the last time."""
    survives, seen = _survival()
    dead, alive = torch.full((y.shape[1],), -torch.inf, dtype=y.dtype), torch.zeros(y.shape[1], dtype=y.dtype)
    lives, dies, caught, missed = survives.log(), torch.log1p(-survives), seen.log(), torch.log1p(-seen)

    def step(ahead: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], None]:
        dead, alive = ahead
        gone = torch.where(y > 0, -torch.inf, torch.logaddexp(dead, alive + dies))
        return (gone, alive + lives + torch.where(y > 0, caught, missed)), None

    (dead, alive), _ = su.scan(step, (dead, alive), y)
    su.factor("y", torch.logaddexp(dead, alive).sum())


def _caught(generator: torch.Generator) -> torch.Tensor:
    """Of animals that survive with probability 0.8, and are caught with 0.5."""
    draws = torch.rand((2, OCCASIONS, ANIMALS), generator=generator, dtype=torch.float64)
    alive = (draws[0] < 0.8).double().cumprod(0)
    return alive * (draws[1] < 0.5)


Program = Callable[[torch.Tensor], None]


def rows(quick: bool) -> dict[str, tuple[Program, Program, torch.Tensor]]:
    """The programs by name, each with the one by hand and its data; of a tenth of the size with `quick`."""
    generator = torch.Generator().manual_seed(0)
    part = 10 if quick else 1
    many, series = (torch.randn(n // part, generator=generator, dtype=torch.float64) for n in (N, STEPS))
    return {
        "mixture": (mixture, mixture_by_hand, many),
        "hidden_markov": (hidden_markov, hidden_markov_by_hand, series),
        "factorial": (factorial, factorial_by_hand, series),
        "capture_recapture": (capture_recapture, capture_recapture_by_hand, _caught(generator)),
    }


def compiled(program: Program, y: torch.Tensor) -> tuple[Any, float]:
    """The density, and the seconds of CPU time to compile it."""
    began = time.process_time()
    density = su.compile(program, y)
    assert density.engine == "native", program.__name__
    return density, time.process_time() - began


def microseconds(densities: Sequence[Any]) -> list[float]:
    """The least CPU time of a value and gradient of each, of a hundred, in turn."""
    q = np.random.default_rng(1).normal(size=densities[0].dim) * 0.3
    found = [math.inf] * len(densities)
    for _ in range(100):
        for place, density in enumerate(densities):
            began = time.process_time()
            density.value_and_grad(q)
            found[place] = min(found[place], time.process_time() - began)
    return [1e6 * one for one in found]


def of_peer(python: str, peer: str, name: str, quick: bool) -> float | None:
    """Microseconds of a peer, by `discrete_peers.py`; None where it has none, or takes too long."""
    script = Path(__file__).with_name("discrete_peers.py")
    command = [python, str(script), peer, name, *(["--quick"] if quick else [])]
    one_core = os.environ | {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=one_core, check=False)
    except subprocess.TimeoutExpired:
        print(f"{peer} took more than {LIMIT} s for {name}", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{peer} failed at {name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return float(json.loads(done.stdout.splitlines()[-1])["us"])


def main() -> None:
    """Print a table: microseconds of CPU time per value and gradient, ratios to ours, and seconds to compile."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has NumPyro and Pyro")
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = PEERS if given.peers else ()
    print("| program | ours, µs | by hand, µs | ratio | compile, s |" + "".join(f" {name}, µs | times |" for name in names))
    print("| --- |" + " ---: |" * (4 + 2 * len(names)))
    for name, (program, by_hand, y) in rows(given.quick).items():
        (density, seconds), (other, _) = compiled(program, y), compiled(by_hand, y)
        ours, hand = microseconds([density, other])
        line = f"| {name} | {ours:.1f} | {hand:.1f} | {ours / hand:.2f} | {seconds:.1f} |"
        for peer in names:
            theirs = of_peer(given.peers, peer, name, given.quick)
            line += " – | – |" if theirs is None else f" {theirs:.0f} | {theirs / ours:.1f} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
