"""From what the chains drew to a posterior: chains of one length, sites computed from the draws, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sursum.convergence import mixing
from sursum.diagnostics import Evidence, diagnose
from sursum.mcmc.nutpie_door import STATS, ChainTrace
from sursum.mcmc.schedule import Outcome
from sursum.posterior import Draws, Posterior
from sursum.program import Program

Array = NDArray[np.float64]


class Compiled(Protocol):
    """What is asked of a compiled density here."""

    @property
    def density(self) -> Any: ...

    def expand(self, draws: Array, /) -> Mapping[str, Tensor]: ...


def assemble(compiled: Compiled, outcome: Outcome, num_samples: int) -> Posterior:
    """The posterior of a run.

    An interrupted run keeps the chains that have left the warm-up, or all that have begun if none has, each as long as
    the shortest of them.

    Raises:
        KeyboardInterrupt: the run was interrupted before the first draw.
    """
    begun = [trace for trace in outcome.traces if trace is not None and len(trace.unconstrained)]
    if not begun:
        raise KeyboardInterrupt
    kept = [trace for trace in begun if len(trace.unconstrained) > trace.num_warmup] or begun
    warmup_length = min(trace.num_warmup for trace in kept)
    length = min(len(trace.unconstrained) - trace.num_warmup for trace in kept)
    before = [slice(0, warmup_length) for _ in kept]
    after = [slice(trace.num_warmup, trace.num_warmup + length) for trace in kept]
    stats, warmup_stats = _stats(kept, after), _stats(kept, before)
    q, warmup_q = _stacked(kept, after), _stacked(kept, before)
    # With no draw there is nothing to compute the shapes from, so they come from the other part.
    sites = _sites(compiled, q) if length else {}
    warmup_sites = _sites(compiled, warmup_q) if warmup_length else {name: v[:, :0] for name, v in sites.items()}
    sites = sites or {name: value[:, :0] for name, value in warmup_sites.items()}

    density = compiled.density
    latents = tuple(latent.name for latent in density.latents)
    coordinates = tuple(density.coordinate_names())
    found = {name: mixing(sites[name].numpy()) for name in latents}
    warnings = diagnose(Evidence(found, stats, q, coordinates))
    if outcome.interrupted:
        warnings = (_cut_short(len(kept), len(outcome.traces), length, num_samples), *warnings)
    return Posterior(
        sites,
        stats,
        q,
        warmup=Draws(warmup_sites, warmup_stats, warmup_q),
        latents=latents,
        coordinates=coordinates,
        dims={name: tuple(dims) for name, dims in density.dims.items()},
        observed=dict(density.observed),
        warnings=warnings,
        program=Program(density.model, density.args, density.kwargs),
    )


def _stacked(traces: Sequence[ChainTrace], parts: Sequence[slice]) -> Array:
    return np.stack([trace.unconstrained[part] for trace, part in zip(traces, parts, strict=True)])


def _stats(traces: Sequence[ChainTrace], parts: Sequence[slice]) -> dict[str, NDArray[Any]]:
    return {
        name: np.stack([trace.stats[name][part] for trace, part in zip(traces, parts, strict=True)]) for name in STATS.values()
    }


def _sites(compiled: Compiled, q: Array) -> dict[str, Tensor]:
    """The sites at all draws: (chain, draw, n) to (chain, draw, *shape), real ones in float64."""
    chains, length, n = q.shape
    values = compiled.expand(q.reshape(chains * length, n))
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    return {name: value.reshape(chains, length, *value.shape[1:]) for name, value in doubled.items()}


def _cut_short(kept: int, asked: int, length: int, wanted: int) -> str:
    chains = f"all {asked} chains" if kept == asked else f"{kept} of {asked} chains"
    if length == 0:
        return f"The run was interrupted during the warm-up: there is no draw of the posterior, only `warmup` of {chains}."
    return f"The run was interrupted: the posterior has {length} of {wanted} draws of {chains}."
