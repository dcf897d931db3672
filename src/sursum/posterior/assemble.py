"""The one place where draws become a `Posterior`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.core.calling import Program
from sursum.density.log_density import LogDensity
from sursum.draws.draws import Draws
from sursum.draws.psis import verdict
from sursum.errors import DiagnosticWarning
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What draws are draws of: what a posterior tells of the program beside them. The fields are those of `Posterior`."""

    latents: tuple[str, ...]
    coordinates: Sequence[str]
    dims: Mapping[str, tuple[str, ...]]
    observed: Mapping[str, Tensor]
    program: Program
    engine: str | None = None
    coords: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, density: LogDensity, engine: str | None = None) -> Subject:
        latents = tuple(latent.name for latent in density.latents)
        dims, observed = dict(density.dims), dict(density.observed)
        return cls(latents, tuple(density.coordinate_names()), dims, observed, density.program, engine, density.coords)


def draws_of(sites: Mapping[str, Tensor], stats: Mapping[str, NDArray[Any]], unconstrained: Array) -> Draws:
    """Draws of some chains, (chain, draw, …) each; real sites become float64."""
    real = {name: value.double() if value.is_floating_point() else value for name, value in sites.items()}
    return Draws(real, dict(stats), np.ascontiguousarray(unconstrained, dtype=np.float64))


def stack_buffers(rows: Sequence[Sequence[Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Buffers of networks, given by chain and draw, as (chain, draw, *shape) by name; real ones become float64."""
    stacked = {name: torch.stack([torch.stack([row[name] for row in chain]) for chain in rows]) for name in rows[0][0]}
    return {name: value.double() if value.is_floating_point() else value for name, value in stacked.items()}


def assemble(
    subject: Subject,
    draws: Draws,
    *,
    warmup: Draws | None = None,
    warnings: Sequence[str] = (),
    pareto_k: float | None = None,
    buffers: Mapping[str, Tensor] | None = None,
) -> Posterior:
    """The posterior that has these draws, of chains of one length; `buffers` are those of networks, (chain, draw, *shape)."""
    told = {item.name: getattr(subject, item.name) for item in fields(subject)}
    if warmup is not None:
        told["warmup"] = warmup
    told |= {"warnings": tuple(warnings), "pareto_k": pareto_k, "buffers": buffers or {}}
    return Posterior(draws.sites, draws.stats, draws.unconstrained, **told)


def assemble_independent(
    subject: Subject,
    sites: Mapping[str, Tensor],
    stats: Mapping[str, NDArray[Any]],
    unconstrained: Array,
    *,
    pareto_k: float,
    doubts: Sequence[str] = (),
) -> Posterior:
    """The posterior of N independent draws of an approximation, (N, …) each, as one chain.

    Warns:
        DiagnosticWarning: each of `doubts`, and that the Pareto k-hat of the importance weights is above 0.7.
    """
    said = (*doubts, *verdict(pareto_k))
    for text in said:
        warn(text, DiagnosticWarning)
    one = draws_of(
        {name: value[None] for name, value in sites.items()},
        {name: value[None] for name, value in stats.items()},
        unconstrained[None],
    )
    return assemble(subject, one, warnings=said, pareto_k=pareto_k)
