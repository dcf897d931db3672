"""Add draws to a posterior: check that it is the same one, find where to start, and join both parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.draws.diagnostics import Evidence, Hints, diagnose
from sursum.draws.ess_rhat import mixing_by_name
from sursum.errors import SamplingError
from sursum.mcmc.kernel.state import State
from sursum.posterior.posterior import Posterior

LIKE = 1e-6
"""Maximum relative difference of the log density of a stored draw from that of the program; different data exceed it."""


def check_same(compiled: Any, posterior: Posterior) -> None:
    """Raise SamplingError unless `posterior` consists of draws of this density."""
    if not posterior.num_samples:
        raise SamplingError("the posterior has no draws to continue from. Run the program first.")
    check_names(compiled, posterior.coordinates)
    for k, q in enumerate(posterior.unconstrained[:, -1]):
        check_value(compiled, k, q, float(posterior.stats["lp"][k, -1]))


def check_names(compiled: Any, known: Sequence[str]) -> None:
    """Raise SamplingError unless the density's coordinates are those of the draws."""
    new = tuple(compiled.density.coordinate_names())
    if new != tuple(known):
        differing = [*(name for name in known if name not in new), *(name for name in new if name not in known)]
        raise SamplingError(
            f"the posterior is not one of this program: {len(known)} unconstrained coordinates were expected to be the "
            f"same, and {differing[0] if differing else 'their order'!r} differs. Give the program, with its arguments, "
            "that was sampled."
        )


def check_value(compiled: Any, chain: int, q: NDArray[np.float64], stored: float) -> None:
    """Raise SamplingError unless the log density at the last draw of a chain is what it was."""
    value, _ = compiled.value_and_grad(q)
    if not abs(value - stored) <= LIKE * max(1.0, abs(stored)):
        raise SamplingError(
            f"the posterior is not one of these data: at the last draw of chain {chain} the log density was {stored:.6g}, "
            f"and is {value:.6g} for the program as it is called now. Give the program and the arguments that were sampled."
        )


def states_after(posterior: Posterior, fields: Mapping[str, float]) -> list[State]:
    """The states of the chains after their last draws.

    None where the posterior has none, or not those of its last draws, or where the kernel's `fields` have changed since.
    """
    try:
        states = [State.of(np.frombuffer(block, dtype=np.uint8).copy()) for block in posterior.states]
    except ValueError:
        return []
    draws = posterior.num_samples
    whole = len(states) == posterior.num_chains and all(int(s.head["draw"] - s.head["num_warmup"]) >= draws for s in states)
    same = whole and all(s.head[name] == value for s in states for name, value in fields.items())
    last = same and all(np.array_equal(s.point, q) for s, q in zip(states, posterior.unconstrained[:, -1], strict=True))
    return states if last else []


def join(first: Posterior, second: Posterior, num_warmup: int, hints: Hints) -> Posterior:
    """The draws of `first` followed by those of `second`, with the same number of chains; diagnostics are recomputed."""
    count = second.num_chains
    sites = {name: torch.cat([first[name][:count], second[name]], dim=1) for name in first if name in second}
    stats: Mapping[str, NDArray[Any]] = {
        name: np.concatenate([values[:count], second.stats[name]], axis=1) for name, values in first.stats.items()
    }
    q = np.concatenate([first.unconstrained[:count], second.unconstrained], axis=1)
    found = mixing_by_name({name: sites[name].numpy() for name in first.latents if name in sites})
    said = tuple(text for text in second.warnings if text.startswith("The run "))
    begun = f"{second.num_samples} draws of each chain were added after the first {first.num_samples}: "
    note = begun + (
        f"from its last draw on, with the metric of the draws, after {num_warmup} draws of warm-up, which are discarded."
        if num_warmup
        else "each chain continued as if it had been longer from the beginning."
    )
    return replace(
        first,
        sites=sites,
        stats=stats,
        unconstrained=q,
        warnings=(*said, *diagnose(Evidence(found, stats, q, first.coordinates, hints))),
        groups={},
        notes=(*first.notes, note),
        program=second.program,
        states=second.states,
    )
