"""How long programs take to compile that name their sites, or take their steps, in a loop of Python's.

Such a program is run by Python several times, and translated operator by operator. So the time is given beside that of one
plain gradient of the same program by torch, which is as much longer on a slower machine: the ratio counts.

python benchmarks/loops.py [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist

GRADIENTS = 5
Model = Callable[[Any], None]


def named_sites(number: int) -> tuple[Model, list[Tensor]]:
    """Groups, each with a site of its own and a few observations: z_k ~ N(m, t), y_k ~ N(z_k, 1)."""
    rng = np.random.default_rng(0)
    data = [torch.tensor(rng.normal(k % 5, 1, 2 + k % 4)) for k in range(number)]

    def model(data: list[Tensor]) -> None:
        m = su.sample("m", dist.Normal(0.0, 10.0))
        t = su.sample("t", dist.HalfNormal(5.0))
        for k, y in enumerate(data):
            z = su.sample(f"z{k}", dist.Normal(m, t))
            su.sample(f"y{k}", dist.Normal(z, 1.0).expand(y.shape).to_event(1), obs=y)

    return model, data


def steps(number: int) -> tuple[Model, Tensor]:
    """A recurrence: h_i = tanh(a h_{i-1} + x_i), y_i ~ N(h_i, 1)."""
    data = torch.tensor(np.random.default_rng(0).normal(size=number))

    def model(data: Tensor) -> None:
        a = su.sample("a", dist.Normal(0.0, 1.0))
        x = su.sample("x", dist.Normal(torch.zeros(number, dtype=torch.float64), 1.0).to_event(1))
        h, states = torch.zeros((), dtype=torch.float64), []
        for i in range(number):
            h = torch.tanh(a * h + x[i])
            states.append(h)
        su.sample("y", dist.Normal(torch.stack(states), 1.0).to_event(1), obs=data)

    return model, data


PROGRAMS: dict[str, tuple[Callable[[int], tuple[Model, Any]], int]] = {
    "100 sites": (named_sites, 100),
    "200 sites": (named_sites, 200),
    "200 steps": (steps, 200),
}


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process while `work` runs; the C compiler is another process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str) -> tuple[float, float]:
    """CPU seconds of a compilation, and of one gradient of the program itself by torch."""
    make, number = PROGRAMS[name]
    model, data = make(number)
    taken = seconds(lambda: su.compile(model, data))
    density = su.infer.LogDensity(model, (data,))
    found = density.unravel(torch.zeros(density.dim, dtype=torch.float64))
    values = {name: value.detach().requires_grad_() for name, value in found.items()}
    program = su.trace(su.substitute(model, data=values))

    def gradient() -> object:
        return torch.autograd.grad(program.get_trace(data).log_prob_sum(), list(values.values()))

    return taken, median([seconds(gradient) for _ in range(GRADIENTS)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0)))  # what is imported late, and the C compiler is met
    print("| program | compile, CPU s | a gradient by torch, CPU s | ratio |\n|---|---|---|---|")
    for name in PROGRAMS:
        rows = [measure(name) for _ in range(runs)]
        taken, plain = (median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {taken:.2f} | {plain:.3f} | {taken / plain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
