"""Build a posterior from the draws of the chains: equal lengths, sites computed from the draws, diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sursum.draws.diagnostics import NO_HINTS, Evidence, Hints, diagnose
from sursum.draws.draws import Draws
from sursum.draws.ess_rhat import mixing_by_name
from sursum.draws.partial_run import common_part, cut_short
from sursum.errors import SamplingError
from sursum.io.lazy_draws import ComputedSites
from sursum.mcmc.chain_pool import Outcome
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.thinning import Thinning
from sursum.mcmc.trace import FIELDS, Block, ChainTrace
from sursum.posterior.assemble import Subject, assemble, draws_of
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]

NOTHING = ChainTrace(np.empty((0, 0)), {}, 0)
"""The trace of a chain that has not started."""


class Compiled(Protocol):
    """What is needed of a compiled density here."""

    @property
    def density(self) -> Any: ...

    @property
    def engine(self) -> str: ...

    def expand(self, draws: Array, /) -> Mapping[str, Tensor]: ...


def posterior_of(
    compiled: Compiled, outcome: Outcome, num_samples: int, keep: Keep, hints: Hints = NO_HINTS, thin: int = 1
) -> Posterior:
    """The posterior of a run, whose chains are in memory.

    An interrupted run keeps the chains past the warm-up, or all that have started if there are none, truncated to
    the shortest of them.

    Raises:
        SamplingError: no chain has draws.
    """
    traces = [_thin(trace or NOTHING, thin) for trace in outcome.traces]
    part = common_part(
        [trace.num_warmup for trace in traces], [len(trace.unconstrained) - trace.num_warmup for trace in traces]
    )
    if not part.chains:
        raise nothing_yet()
    if outcome.kept is not None:
        part = replace(part, draws=min(part.draws, outcome.kept))
    kept = [traces[k] for k in part.chains]
    before = [slice(0, part.warmup) for _ in kept]
    after = [slice(trace.num_warmup, trace.num_warmup + part.draws) for trace in kept]
    stats, warmup_stats = _stats(kept, after), _stats(kept, before)
    q, warmup_q = _stack(kept, after), _stack(kept, before)
    # Without draws the shapes cannot be computed, so they come from the other phase.
    sites = _sites(compiled, q) if part.draws else {name: v[:, :0] for name, v in _sites(compiled, warmup_q).items()}

    subject = Subject.of(compiled.density, compiled.engine)
    found = mixing_by_name({name: sites[name].numpy() for name in subject.latents})
    warnings = diagnose(Evidence(found, stats, q, subject.coordinates, hints))
    if outcome.happened:
        warnings = (cut_short(part, len(outcome.traces), num_samples // thin, outcome.happened), *warnings)
    names = keep.names(sites)
    draws = draws_of({name: sites[name] for name in names}, stats, q)
    empty = {name: sites[name][:, :0] for name in names}
    warmup = Draws(
        ComputedSites(names, lambda: _sites(compiled, warmup_q)) if part.warmup else empty, dict(warmup_stats), warmup_q
    )
    return assemble(subject, draws, warmup=warmup, warnings=warnings)


def common_draws(outcome: Outcome, thin: int) -> Array:
    """The draws of q after the warm-up that every chain has made, (chain, draw, n), thinned."""
    parts = [np.empty((0, 0)) if trace is None else trace.unconstrained[trace.num_warmup :] for trace in outcome.traces]
    count = min(len(part) for part in parts) // thin
    return np.stack([part[thin - 1 : count * thin : thin] for part in parts]) if count else np.empty((len(parts), 0, 0))


def _thin(trace: ChainTrace, thin: int) -> ChainTrace:
    if thin == 1:
        return trace
    q, stats, warm = trace.unconstrained, trace.stats, trace.num_warmup
    kept = Thinning(thin)(Block("sample", q[warm:], {name: values[warm:] for name, values in stats.items()}))
    return ChainTrace(
        np.concatenate([q[:warm], kept.unconstrained]),
        {name: np.concatenate([values[:warm], kept.stats[name]]) for name, values in stats.items()},
        warm,
    )


def nothing_yet() -> SamplingError:
    return SamplingError("no chain has draws yet, but at least one draw was expected. Wait, or check `progress`.")


def _stack(traces: Sequence[ChainTrace], parts: Sequence[slice]) -> Array:
    return np.stack([trace.unconstrained[part] for trace, part in zip(traces, parts, strict=True)])


def _stats(traces: Sequence[ChainTrace], parts: Sequence[slice]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([trace.stats[name][part] for trace, part in zip(traces, parts, strict=True)]) for name in FIELDS}


def _sites(compiled: Compiled, q: Array) -> dict[str, Tensor]:
    """The sites at all draws: (chain, draw, n) to (chain, draw, *shape), real ones in float64."""
    chains, length, n = q.shape
    values = compiled.expand(q.reshape(chains * length, n))
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    return {name: value.reshape(chains, length, *value.shape[1:]) for name, value in doubled.items()}
