"""Apply the open plates of a site: their dimensions, their scale, their subsample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.core.messages import Factor, Frame, Param, Sample
from sursum.core.scope import own_steps
from sursum.errors import ObservationError, PlateError

S = TypeVar("S", Sample, Factor)


def place(site: S) -> S:
    """`site` expanded to its plates: the distribution of a `Sample`, the value of a `Factor`.

    Idempotent: a handler that changes `fn` places the site again.
    """
    dims = {frame.dim: frame for frame in site.plates if frame.dim is not None}
    if not dims:
        return site
    if isinstance(site, Factor):
        shape = _batch_in_plates(site, "its value has shape", site.value.shape, dims)
        return site if shape == site.value.shape else site.but(value=site.value.expand(shape))
    if not isinstance(site.fn, Distribution):
        return site
    shape = _batch_in_plates(site, "its distribution has batch shape", site.fn.batch_shape, dims)
    return site if shape == site.fn.batch_shape else site.but(fn=site.fn.expand(shape))


def _batch_in_plates(site: Sample | Factor, what: str, own: torch.Size, dims: Mapping[int, Frame]) -> torch.Size:
    """`own`, a batch shape, with the sizes of the plates in their dimensions."""
    batch = [1] * (-min(dims) - len(own)) + list(own)
    for dim, frame in dims.items():
        if batch[dim] not in (1, frame.length):
            subsample = "" if frame.indices is None else f" ({frame.length} of them present)"
            remedy = " or declare the dimension part of one value with .to_event(…)" if isinstance(site, Sample) else ""
            raise PlateError(
                f"site {site} is in plate {frame.name!r} of size {frame.size}{subsample} at dim {dim}, but {what} "
                f"{tuple(own)}, {batch[dim]} at that dim. Make them agree,{remedy or ' or sum over the dimension'}."
            )
        batch[dim] = frame.length
    return torch.Size(batch)


def plate_scale(plates: tuple[Frame, ...]) -> float:
    """The factor for log densities in these plates."""
    scale = 1.0
    for frame in plates:
        scale *= frame.scale
    return scale


def local_plates(site: Param, value: Tensor) -> tuple[Frame, ...]:
    """The plates that own the batch dimensions of a parameter; empty if it is global.

    A parameter without `event_dim` is global, whatever its shape; it is an error if plates claim only some of the batch
    dimensions.
    """
    if site.event_dim is not None and not 0 <= site.event_dim <= value.dim():
        raise PlateError(
            f"parameter {site} has shape {tuple(value.shape)} and event_dim {site.event_dim}: it does not "
            f"have that many dimensions. Give an event_dim from 0 to {value.dim()}."
        )
    frames = {frame.dim: frame for frame in site.plates if frame.dim is not None}
    if site.event_dim is None or not frames:
        return ()
    batch = value.shape[: value.dim() - site.event_dim]
    sizes = {dim: batch[dim] for dim in range(-len(batch), 0)}
    claimed = {dim: frame for dim, frame in frames.items() if sizes.get(dim) == frame.size}
    if any(size != 1 and dim not in claimed for dim, size in sizes.items()):
        plates = ", ".join(f"{f.name!r} (size {f.size}, dim {f.dim})" for f in site.plates if f.dim is not None)
        raise PlateError(
            f"parameter {site} has batch shape {tuple(batch)} (shape {tuple(value.shape)}, event_dim {site.event_dim}), "
            f"and the open plates are {plates}: every batch dimension must be a plate's. Give the dimension a plate, "
            "make it an event dimension with event_dim, or leave event_dim out to make the parameter global."
        )
    return tuple(claimed.values())


def take_present(site: Param, value: Tensor) -> Tensor:
    """The elements of a local parameter that are present in its plates."""
    return present(value, local_plates(site, value), value.dim() - (site.event_dim or 0))


def present(value: Tensor, plates: tuple[Frame, ...], batch: int) -> Tensor:
    """The elements that `plates` have present of a value of whole plates, whose `batch` leftmost dimensions end with theirs."""
    for frame in plates:
        if frame.dim is not None and frame.indices is not None:
            value = value.index_select(batch + frame.dim, frame.indices)
    return value


def whole_shape(shape: torch.Size, plates: tuple[Frame, ...], batch: int) -> torch.Size:
    """The shape in whole plates of a value of which only some elements are present; see `present`."""
    whole = list(shape)
    for frame in plates:
        if frame.dim is not None and frame.indices is not None:
            whole[batch + frame.dim] = frame.size
    return torch.Size(whole)


def by_step(site: Sample, value: Any) -> Any:
    """This step's element of a value that a handler holds for all steps of the scans around `site`; otherwise the value."""
    for step in own_steps(site):
        if not isinstance(value, Tensor) or not value.dim() or value.shape[0] != step.size:
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ObservationError(
                f"site {site} is in each of the {step.size} steps of a {step.name}, but the value given to it is {found}. "
                f"Give a tensor with a leading dimension, time, of size {step.size}."
            )
        value = step.take(value)
    return value
