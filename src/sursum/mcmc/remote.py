"""Chains whose draws are made by workers: block by block, the state of the chain goes there and comes back.

A worker keeps nothing but the compiled density. So one that dies costs the block that it was making, which another makes again
from the same state, and the draws are those of a chain that was left alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.cluster import Lost, Workers
from sursum.compiler.compiled import compile_density
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.errors import SamplingError
from sursum.mcmc.kernel.state import RECORD, State
from sursum.mcmc.kernel_chain import Advance, advancing, native_kernel
from sursum.mcmc.sweeps import sweeps_of

Array = NDArray[np.float64]

SECONDS = 0.5
"""About how long a worker makes draws before it hands them over: what a worker that dies costs, and how soon a run stops."""

FIRST, MOST = 20, 100_000
"""Draws of a chain's first block, and of any."""

Request = tuple[bytes, int, bool]
Answer = tuple[bytes, Array, Array | None, NDArray[np.void]]


@dataclass(frozen=True)
class BlockMaker:
    """What a worker does: from a state, a number of draws and whether their gradients are wanted, to these and a new state."""

    model: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    engine: str | None

    def __call__(self, request: Request) -> Answer:
        block, draws, wanted = request
        state = State.of(np.frombuffer(block, np.uint8).copy())
        n = int(state.head["dim"])
        q, records = np.empty((draws, len(state.point))), np.zeros(draws, RECORD)
        gradients = np.empty((draws, n)) if wanted else None
        self._advance(state, draws, np.zeros(1, np.int64), q, gradients, records)
        return state.block.tobytes(), q, gradients, records

    @cached_property
    def _advance(self) -> Advance:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they have been issued where the run was started
            density = compile_density(LogDensity(rolled(self.model), self.args, self.kwargs), self.engine)
            sweeps = sweeps_of(density)
        return advancing(density, native_kernel(density), sweeps)


def advancing_at(on: Workers, maker: BlockMaker) -> Callable[[], Advance]:
    """For each chain what makes its next draws at workers. The program and its data are sent once."""
    call = on.sent(maker)

    def one_chain() -> Advance:
        pace = FIRST

        def advance(
            state: State, draws: int, stop: NDArray[np.int64], q: Array, g: Array | None, records: NDArray[np.void]
        ) -> int:
            nonlocal pace
            made = 0
            while made < draws and not stop[0]:
                count, began = min(pace, draws - made), time.monotonic()
                found = call((state.block.tobytes(), count, g is not None))
                if isinstance(found, Lost):
                    raise SamplingError(f"the draws of a chain are lost: {found.reason}. What a store has of the run stays.")
                block, positions, gradients, rows = found
                here = slice(made, made + count)
                q[here], records[here] = positions, rows
                if g is not None and gradients is not None:
                    g[here] = gradients
                state.block[:] = np.frombuffer(block, np.uint8)
                made += count
                pace = int(np.clip(SECONDS / max(time.monotonic() - began, 1e-9) * count, FIRST, MOST))
            return made

        return advance

    return one_chain
