"""Programs with differential equations: predator and prey, absorption and elimination of a drug, an epidemic by water.

    python -m benchmarks.odes

Prints the CPU time of a log density and its gradient, of ours in a compiled density, and of torchdiffeq's solver with autograd
through its steps. The programs are `lotka_volterra`, `one_comp_mm_elim_abs` and `sir` of posteriordb; the data of the last two
are drawn here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist

D = torch.float64

#: Pelts of hares and lynxes, thousands, of Hudson's Bay Company, 1900 to 1920 (Howard 2009).
PELTS = torch.tensor(
    [
        *((30.0, 4.0), (47.2, 6.1), (70.2, 9.8), (77.4, 35.2), (36.3, 59.4), (20.6, 41.7), (18.1, 19.0), (21.4, 13.0)),
        *((22.0, 8.3), (25.4, 9.1), (27.1, 7.4), (40.3, 8.0), (57.0, 12.3), (76.6, 19.5), (52.3, 45.7), (19.5, 51.1)),
        *((11.2, 29.7), (7.6, 15.8), (14.6, 9.7), (16.2, 10.1), (24.7, 8.6)),
    ],
    dtype=D,
)


def lotka_volterra(pelts: Tensor, solve: Callable[..., Tensor] = su.odeint) -> None:
    """Prey grows and is eaten; the predator lives on it. `theta`: growth, eaten, dying, fed."""
    theta = su.sample("theta", _positive([1.0, 0.05, 1.0, 0.05], [0.5, 0.05, 0.5, 0.05]))
    start = su.sample("z_init", dist.LogNormal(torch.full((2,), math.log(10), dtype=D), 1.0).to_event(1))
    sigma = su.sample("sigma", dist.LogNormal(torch.full((2,), -1.0, dtype=D), 1.0).to_event(1))

    def slope(t: Tensor, z: Tensor) -> Tensor:
        return torch.stack([(theta[0] - theta[1] * z[1]) * z[0], (theta[3] * z[0] - theta[2]) * z[1]])

    z = solve(slope, start, torch.arange(len(pelts), dtype=D), rtol=1e-6, atol=1e-6)
    su.sample("y", dist.LogNormal(z.log(), sigma).to_event(2), obs=pelts)


def one_compartment(seen: Tensor, times: Tensor, dose: float, volume: float, solve: Callable[..., Tensor] = su.odeint) -> None:
    """A drug is absorbed at the rate `k_a`, and eliminated as Michaelis and Menten have it."""
    k_a, k_m, v_m, sigma = (
        su.sample(name, dist.HalfCauchy(torch.ones((), dtype=D))) for name in ("k_a", "K_m", "V_m", "sigma")
    )

    def slope(t: Tensor, c: Tensor) -> Tensor:
        return dose * k_a / volume * torch.exp(-k_a * t) - v_m / volume * c / (k_m + c)

    since = torch.cat([times.new_zeros(1), times])
    level = solve(slope, torch.zeros((), dtype=D), since, rtol=1e-6, atol=1e-8)[1:]
    su.sample("C_hat", dist.LogNormal(level.log(), sigma).to_event(1), obs=seen)


def sir(cases: Tensor, bacteria: Tensor, times: Tensor, start: Tensor, solve: Callable[..., Tensor] = su.odeint) -> None:
    """Susceptible, infected, recovered, and bacteria in the water, by which the disease spreads."""
    names, scales = ("beta", "gamma", "xi", "delta"), (2.5, 1.0, 25.0, 1.0)
    beta, gamma, xi, delta = (
        su.sample(name, dist.HalfCauchy(torch.tensor(scale, dtype=D))) for name, scale in zip(names, scales, strict=True)
    )

    def slope(t: Tensor, y: Tensor) -> Tensor:
        infected = beta * y[3] / (y[3] + 1e6) * y[0]
        return torch.stack([-infected, infected - gamma * y[1], gamma * y[1], xi * y[1] - delta * y[3]])

    y = solve(slope, start, torch.cat([times.new_zeros(1), times]), rtol=1e-6, atol=1e-6)
    su.sample("stoi_hat", dist.Poisson(y[:-1, 0] - y[1:, 0]).to_event(1), obs=cases)
    su.sample("B_hat", dist.LogNormal(y[1:, 3].log(), 0.15).to_event(1), obs=bacteria)


def _positive(means: list[float], sds: list[float]) -> Any:
    """Normal numbers that are positive."""
    return dist.TruncatedNormal(torch.tensor(means, dtype=D), torch.tensor(sds, dtype=D), low=0.0).to_event(1)


def drawn_compartment() -> tuple[Tensor, Tensor, float, float]:
    """Twenty levels, at the parameters of the point below."""
    times = torch.linspace(0.5, 10.0, 20, dtype=D)
    level = su.odeint(
        lambda t, c: 30 * 0.75 / 2 * torch.exp(-0.75 * t) - 0.85 / 2 * c / (2.0 + c),
        torch.zeros((), dtype=D),
        torch.cat([times.new_zeros(1), times]),
    )[1:]
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=20))
    return level * torch.exp(0.15 * noise), times, 30.0, 2.0


def drawn_sir() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twenty days of an epidemic, at the parameters of the point below."""
    times, start = torch.arange(1.0, 21.0, dtype=D), torch.tensor([1e5, 1.0, 0.0, 1e4], dtype=D)

    def slope(t: Tensor, y: Tensor) -> Tensor:
        infected = 1.0 * y[3] / (y[3] + 1e6) * y[0]
        return torch.stack([-infected, infected - 0.2 * y[1], 0.2 * y[1], 12.0 * y[1] - 0.5 * y[3]])

    y = su.odeint(slope, start, torch.cat([times.new_zeros(1), times]))
    rng = np.random.default_rng(2)
    cases = torch.from_numpy(rng.poisson((y[:-1, 0] - y[1:, 0]).clamp(min=1e-9).numpy()).astype(float))
    return cases, y[1:, 3] * torch.exp(0.15 * torch.from_numpy(rng.normal(size=20))), times, start


#: The programs, with their arguments and a point (of logarithms) in the middle of the posterior.
PROGRAMS: dict[str, tuple[Callable[..., None], Callable[[], tuple[Any, ...]], list[float]]] = {
    "lotka_volterra": (lotka_volterra, lambda: (PELTS,), [0.55, 0.028, 0.8, 0.024, 34.0, 5.9, 0.25, 0.25]),
    "one_comp_mm_elim_abs": (one_compartment, drawn_compartment, [0.75, 2.0, 0.85, 0.15]),
    "sir": (sir, drawn_sir, [1.0, 0.2, 12.0, 0.5]),
}


def microseconds(run: Callable[[], Any], count: int) -> float:
    """The least CPU time of a run, of ten rounds of `count`."""
    found = math.inf
    for _ in range(10):
        started = time.process_time()
        for _ in range(count):
            run()
        found = min(found, (time.process_time() - started) / count)
    return 1e6 * found


def main() -> None:
    import torchdiffeq

    torch.set_num_threads(1)
    print("| program | ours, µs | torchdiffeq, µs | ratio | compile, s |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (program, arguments, point) in PROGRAMS.items():
        args, q = arguments(), np.log(point)
        started = time.process_time()
        density = su.compile(program, *args)
        compiled = time.process_time() - started
        ours = microseconds(lambda density=density, q=q: density.value_and_grad(q), 50)
        eager = su.infer.LogDensity(program, (*args, torchdiffeq.odeint))

        def theirs(eager: Any = eager, q: Any = q) -> None:
            at = torch.from_numpy(q).requires_grad_()
            torch.autograd.grad(eager(at), at)

        slow = microseconds(theirs, 1)
        print(f"| {name} | {ours:.0f} | {slow:.0f} | {slow / ours:.0f} | {compiled:.1f} |")


if __name__ == "__main__":
    main()
