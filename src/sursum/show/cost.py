"""`Cost`: what sampling a program will take, by a short pilot run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from sursum.common.cores import available_cores
from sursum.common.tables import Shown
from sursum.compiler.compiled import compile_density
from sursum.compiler.scan import rolled
from sursum.core.calling import Program
from sursum.density.log_density import LogDensity
from sursum.draws.ess_rhat import mixing
from sursum.mcmc import MCMC, NUTS

WARMUP, DRAWS = 300, 200
"""The length of the pilot's chains."""

CHAINS = 4


@dataclass(frozen=True, repr=False)
class Cost(Shown):
    """What sampling takes, measured by four short chains.

    Args:
        engine: "native" or "torch".
        unknowns: the number of unconstrained coordinates.
        compile_seconds: of the density; less the next time.
        step_us: microseconds of one leapfrog step, which is one gradient and the sampler around it.
        steps_per_draw: leapfrog steps of a draw after the warm-up.
        ess_per_draw: the smallest bulk effective sample size of a coordinate, for each draw; at most 1. This and
            `steps_per_draw` are medians of the four chains.
        bytes_per_draw: memory of one draw of one chain, all sites.
    """

    engine: str
    unknowns: int
    compile_seconds: float
    step_us: float
    steps_per_draw: float
    ess_per_draw: float
    bytes_per_draw: int

    def seconds_to(self, ess: float = 400.0, *, num_warmup: int = 1000, num_chains: int = 4, cores: int | None = None) -> float:
        """A forecast of the wall time until every coordinate has this bulk ESS, compilation included.

        The pilot's draws are few, so that it is right within a factor of about two; a step of the warm-up is counted as one
        after it.
        """
        at_once = min(num_chains, available_cores() if cores is None else cores)
        draws = num_warmup + ess / self.ess_per_draw / num_chains
        return self.compile_seconds + draws * self.steps_per_draw * self.step_us * 1e-6 * -(-num_chains // at_once)

    def bytes_of(self, num_samples: int = 1000, *, num_warmup: int = 1000, num_chains: int = 4) -> int:
        """The memory of all draws."""
        return self.bytes_per_draw * num_chains * (num_samples + num_warmup)

    def __str__(self) -> str:
        return (
            f"{self.unknowns:,} unknowns, {self.engine} engine: {_duration(self.step_us * 1e-6)} a leapfrog step, "
            f"{self.steps_per_draw:.3g} steps a draw, {self.ess_per_draw:.2g} effective draws a draw.\n"
            f"ESS 400 of 4 chains by NUTS: about {_duration(self.seconds_to())}, of which {_duration(self.compile_seconds)} "
            f"compiles. 4 × (1000 + 1000) draws: {_size(self.bytes_of())}."
        )

    __repr__ = __str__


def measure_cost(program: Program, seed: int = 0) -> Cost:
    """Sample four short chains, and count."""
    began = time.perf_counter()
    compiled = compile_density(LogDensity(rolled(program.model), program.args, dict(program.kwargs)), None)
    compile_seconds = time.perf_counter() - began
    kernel = NUTS(program.model)
    mcmc = MCMC(kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, seed=seed, progress=False)
    run = mcmc.prepared(compiled)
    began = time.perf_counter()
    run.work()
    seconds = time.perf_counter() - began
    found = run.silently()
    steps = found.stats["n_steps"]
    total = float(steps.sum() + found.warmup.stats["n_steps"].sum())
    at_once = min(CHAINS, available_cores())
    # The median of the chains: one that is still on its way after the pilot's warm-up says nothing about a real run.
    each = [mixing(np.asarray(found.unconstrained[k : k + 1])).ess_bulk for k in range(CHAINS)]
    smallest = float(np.median([np.nanmin(ess) if np.isfinite(ess).any() else 1.0 for ess in each]))
    numbers = sum(value[0, 0].numel() * value.element_size() for value in found.sites.values())
    return Cost(
        engine=compiled.engine,
        unknowns=compiled.dim,
        compile_seconds=compile_seconds,
        step_us=1e6 * seconds * at_once / max(total, 1.0),
        steps_per_draw=float(np.median(steps.mean(axis=1))),
        ess_per_draw=min(1.0, max(smallest, 1.0) / DRAWS),
        bytes_per_draw=numbers + 8 * compiled.dim,
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds * 1e6:.2g} µs"


def _size(count: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"
