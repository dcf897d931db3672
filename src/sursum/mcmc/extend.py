"""Add draws to a posterior: check that it is the same one, find where to start, and join both parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.draws.diagnostics import Evidence, Hints, diagnose
from sursum.draws.ess_rhat import mixing_by_name
from sursum.errors import SamplingError
from sursum.mcmc.coordinates import Whitened
from sursum.posterior.posterior import Posterior

LIKE = 1e-6
"""Maximum relative difference of the log density of a stored draw from that of the program; different data exceed it."""


def check_same(compiled: Any, posterior: Posterior) -> None:
    """Raise SamplingError unless `posterior` consists of draws of this density."""
    names = tuple(compiled.density.coordinate_names())
    if not posterior.num_samples:
        raise SamplingError("the posterior has no draws to continue from. Run the program first.")
    if names != posterior.coordinates:
        known, new = posterior.coordinates, names
        differing = [*(name for name in known if name not in new), *(name for name in new if name not in known)]
        raise SamplingError(
            f"the posterior is not one of this program: {len(posterior.coordinates)} unconstrained coordinates were "
            f"expected to be the same, and {differing[0] if differing else 'their order'!r} differs. Give the program, with "
            "its arguments, that was sampled."
        )
    for k, q in enumerate(posterior.unconstrained[:, -1]):
        value, _ = compiled.value_and_grad(q)
        stored = float(posterior.stats["lp"][k, -1])
        if not abs(value - stored) <= LIKE * max(1.0, abs(stored)):
            raise SamplingError(
                f"the posterior is not one of these data: at the last draw of chain {k} the log density was {stored:.6g}, "
                f"and is {value:.6g} for the program as it is called now. Give the program and the arguments that were sampled."
            )


def whiten(density: Any, posterior: Posterior) -> Whitened:
    """The density in coordinates scaled by the standard deviations of the draws, all chains together."""
    q = posterior.unconstrained
    scales = q.reshape(-1, q.shape[2]).std(axis=0)
    known = np.isfinite(scales) & (scales > 0.0)
    return Whitened(density, q.mean(axis=(0, 1)), np.where(known, scales, 1.0))


def join(first: Posterior, second: Posterior, num_warmup: int, hints: Hints) -> Posterior:
    """The draws of `first` followed by those of `second`, with the same number of chains; diagnostics are recomputed."""
    count = second.num_chains
    sites = {name: torch.cat([first[name][:count], second[name]], dim=1) for name in first if name in second}
    stats: Mapping[str, NDArray[Any]] = {
        name: np.concatenate([values[:count], second.stats[name]], axis=1) for name, values in first.stats.items()
    }
    stats = {**stats, "energy": np.concatenate([first.stats["energy"][:count], _energy_after(first, second)], axis=1)}
    q = np.concatenate([first.unconstrained[:count], second.unconstrained], axis=1)
    found = mixing_by_name({name: sites[name].numpy() for name in first.latents if name in sites})
    said = tuple(text for text in second.warnings if text.startswith("The run "))
    note = (
        f"{second.num_samples} draws of each chain were added after the first {first.num_samples}: from its last draw on, in "
        f"coordinates scaled by the sd of the draws, after {num_warmup} draws of warm-up, which are discarded."
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
    )


def _energy_after(first: Posterior, second: Posterior) -> NDArray[Any]:
    """The energies of `second` as they would be with the metric of `first`.

    An energy has a constant, to some samplers the log determinant of the metric. Energy plus log density, the kinetic energy,
    has the same mean under every metric, so the difference of the means is that of the constants.
    """
    count = second.num_chains
    kinetic = [np.mean(run.stats["energy"][:count] + run.stats["lp"][:count], axis=1, keepdims=True) for run in (first, second)]
    moved: NDArray[Any] = second.stats["energy"] + (kinetic[0] - kinetic[1])
    return moved
