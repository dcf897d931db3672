"""Chains side by side: each by itself, at most so many at once, all looked after by the thread that asked for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sursum.mcmc.nutpie_door import Chain, ChainTrace, Progress
from sursum.mcmc.progress import Display

LONGEST_NAP = 0.05


@dataclass(frozen=True)
class Outcome:
    """What every chain drew, None for one that never began; and whether the run was interrupted."""

    traces: tuple[ChainTrace | None, ...]
    interrupted: bool


def run_chains(start: Callable[[int], Chain], num_chains: int, cores: int, display: Display) -> Outcome:
    """Run chains 0 to `num_chains` - 1, at most `cores` at once; `start(k)` begins chain k.

    Ctrl-C stops them, and what they have drawn is the outcome. When one fails the others are stopped and its exception
    is raised. No chain is left running, however this ends.
    """
    chains: list[Chain] = []
    interrupted = False
    try:
        try:
            _run(start, num_chains, cores, display, chains)
        except KeyboardInterrupt:
            if not chains:
                raise
            interrupted = True
            for chain in chains:
                chain.stop()
        traces = [chain.trace() for chain in chains]
    finally:
        for chain in chains:
            chain.cancel()
        display.close()
    return Outcome((*traces, *[None] * (num_chains - len(traces))), interrupted)


def _run(start: Callable[[int], Chain], num_chains: int, cores: int, display: Display, chains: list[Chain]) -> None:
    """Begin and watch until all are finished; `chains` grows as they begin, for whoever has to stop them."""
    running: list[Chain] = []
    began = time.monotonic()
    while len(chains) < num_chains or running:
        while len(chains) < num_chains and len(running) < cores:
            chain = start(len(chains))
            chains.append(chain)
            running.append(chain)
        running = [chain for chain in running if not chain.finished()]
        waiting = [Progress() for _ in range(num_chains - len(chains))]
        display.update([*(chain.progress for chain in chains), *waiting])
        if running:
            # Looking costs the chains nothing but the GIL; a long run need not be looked at as often as a short one.
            time.sleep(min(LONGEST_NAP, 0.02 * (time.monotonic() - began)))
