"""Time a gradient, and forecast the time of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from numpy.typing import NDArray

from sursum.common.cores import available_cores
from sursum.common.tables import Shown
from sursum.compiler.native.library.clock import time_calls
from sursum.compiler.native.library.library import NativeFunction

_SECONDS = 0.05
_REPEATS = 5
# Overhead of NUTS itself: microseconds per step and per draw, fixed and per unknown.
_STEP = (0.1, 0.005)
_DRAW = (0.5, 0.02)


@dataclass(frozen=True)
class Benchmark(Shown):
    """Microseconds that one value and gradient take, and a forecast for runs; prints as a sentence.

    Args:
        engine: the engine that was timed.
        dim: the number of unconstrained coordinates.
        microseconds: the minimum of a few loops, i.e. an undisturbed call.

    Example:
        >>> print(Benchmark("native", 10, 0.05))
        0.05 µs a gradient (native engine); about 0.007 s for 4 × (1000 + 1000) draws of 15 steps on 4 cores
    """

    engine: str
    dim: int
    microseconds: float

    def forecast(
        self,
        *,
        num_chains: int = 4,
        num_warmup: int = 1000,
        num_samples: int = 1000,
        steps_per_draw: float = 15.0,
        cores: int | None = None,
    ) -> float:
        """Seconds that a run of NUTS will take, without compilation.

        Args:
            num_chains, num_warmup, num_samples: as for `MCMC`.
            steps_per_draw: leapfrog steps per draw, which depend on the posterior: take ``stats["n_steps"].mean()`` of a
                short run. 7 to 15 are usual for uncorrelated posteriors, 100 and more for others.
            cores: maximum number of chains at once; None is the number of cores.
        """
        step = self.microseconds + _STEP[0] + _STEP[1] * self.dim
        draw = steps_per_draw * step + _DRAW[0] + _DRAW[1] * self.dim
        # Chains that call back into Python wait for each other.
        together = min(cores or available_cores(), num_chains) if self.engine == "native" else 1
        return ceil(num_chains / together) * (num_warmup + num_samples) * draw * 1e-6

    def __str__(self) -> str:
        run = self.forecast(cores=4)
        return (
            f"{self.microseconds:.3g} µs a gradient ({self.engine} engine); about {run:.1g} s for 4 × (1000 + 1000) draws "
            "of 15 steps on 4 cores"
        )


def benchmark(
    engine: str, dim: int, native: NativeFunction | None, value_and_grad: Callable[[NDArray[Any]], Any], q: NDArray[Any]
) -> Benchmark:
    """Time one engine at q, for about half a second."""

    def loop(calls: int) -> float:
        if native is not None:
            return time_calls(native, q, calls)
        start = time.perf_counter()
        for _ in range(calls):
            value_and_grad(q)
        return time.perf_counter() - start

    calls = 1
    while (seconds := loop(calls)) < _SECONDS / 10:
        calls *= 8
    calls = max(1, int(calls * _SECONDS / seconds))
    return Benchmark(engine, dim, min(loop(calls) for _ in range(_REPEATS)) / calls * 1e6)
