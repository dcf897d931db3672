"""Latent sites as coordinates: the slice of q of each, and the names of its dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.precision import default_dtype
from sursum.common.snapshot import snapshot_of
from sursum.core.messages import Frame, Sample, Site
from sursum.core.trace import Trace
from sursum.distributions.rebuild import floating_dtype
from sursum.errors import DensityError
from sursum.handlers.enumerate.enumerated import Plan
from sursum.handlers.enumerate.held import is_held


@dataclass(frozen=True)
class Latent:
    """A latent site's slice of q: coordinates `start` to `stop`, of shape `shape` when constrained.

    Those that are `held` are discrete: no gradient leads there.
    """

    name: str
    shape: tuple[int, ...]
    free_shape: tuple[int, ...]
    start: int
    stop: int
    dtype: torch.dtype
    plates: tuple[Frame, ...]
    where: str | None
    held: bool = False


def layout(found: Trace, leaves: Mapping[str, Tensor], plan: Plan | None = None) -> tuple[Latent, ...]:
    """The slices of q of the latent sites, `leaves`; there may be none where discrete sites are summed out by a `plan`.

    Raises:
        DensityError: there is nothing to infer.
    """
    latents, start = [], 0
    for name, free in leaves.items():
        site = found[name]
        latents.append(
            Latent(
                name=name,
                shape=tuple(site.value.shape),
                free_shape=tuple(free.shape),
                start=start,
                stop=start + free.numel(),
                dtype=free.dtype,
                plates=site.plates,
                where=site.where,
                held=is_held(site),
            )
        )
        start += free.numel()
    if not start and plan is None:
        params = ", ".join(map(repr, found.params))
        if not params:
            raise DensityError(
                "the program has no latent site and no parameter, so there is nothing to infer or to fit. "
                "Write a sample site without obs, or a param; call a network through su.module(name, net), which reads "
                "its parameters."
            )
        raise DensityError(
            "the program has no latent site, so there is nothing to infer. "
            f"Give its parameters ({params}) priors with lift; those of a network with requires_grad=False by frozen=True."
        )
    return tuple(latents)


def latent_of(latents: Mapping[str, Latent], site: Sample, free_shape: torch.Size) -> Latent:
    """The slice of q of a latent site whose coordinates have this shape.

    Raises:
        DensityError: the first run of the program had no such site.
    """
    latent = latents.get(site.name)
    if latent is None or latent.free_shape != tuple(free_shape):
        raise DensityError(
            f"latent site {site} did not exist, or had a different shape, when the program was first run. "
            "A density needs the same latent sites in every execution."
        )
    return latent


def observed_values(found: Trace) -> dict[str, Tensor]:
    """Copies of what is observed, by site name."""
    return {name: snapshot_of(site.value.detach()) for name, site in found.observed.items()}


def site_dims(found: Trace) -> dict[str, tuple[str, ...]]:
    """The names of the dimensions of every site that is a tensor."""
    return {name: dims_of(site) for name, site in found.items() if isinstance(site.value, Tensor)}


def plate_lengths(found: Trace) -> set[tuple[str, int]]:
    """The names of the plates of all sites, with their numbers of elements."""
    return {(frame.name, frame.size) for site in found.values() for frame in site.plates if frame.dim is not None}


def dims_of(site: Site) -> tuple[str, ...]:
    """A name for each dimension of a site: that of its plate, or a generated one."""
    shape = tuple(site.value.shape)
    if isinstance(site, Sample) and isinstance(site.fn, Distribution):
        events = len(site.fn.event_shape)
    else:
        events = getattr(site, "event_dim", None) or 0
    names = [f"{site.name}_dim_{i}" for i in range(len(shape))]
    for frame in site.plates:
        place = len(shape) - events + (frame.dim or 0)
        if frame.dim is not None and 0 <= place < len(shape) and shape[place] == frame.length:
            names[place] = frame.name
    return tuple(names)


def site_dtype(site: Sample) -> torch.dtype:
    if site.init is not None and site.init.is_floating_point():
        return site.init.dtype
    return floating_dtype(site.fn) or default_dtype()
