"""Fit a prior to its parameter: cast it, expand it, check its support."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.torch_private import is_all_true, without_dispatch_modes
from sursum.core.messages import Frame, Param, Sample, Site
from sursum.core.validation import check_value, is_validation_enabled
from sursum.distributions.delta import Delta
from sursum.distributions.fluent import Independent, unwrap
from sursum.distributions.improper import ImproperUniform
from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import floating_dtype, recast
from sursum.distributions.select import select
from sursum.distributions.shapes import broadcasts
from sursum.distributions.supports import bounds, inside, suggestions, support_of
from sursum.distributions.truncated import Truncated
from sursum.errors import DensityError, PriorShapeError, PriorSupportError, PriorTypeError

_DRAWS = 32
"""Draws of a prior that are looked at where its support says nothing."""


def fit(
    prior: Distribution,
    site: Param,
    value: Tensor | None,
    plates: tuple[Frame, ...],
    key: str | None,
    entered: Collection[str] = (),
) -> Distribution:
    """`prior` in the dtype, on the device and of the shape of `value`, with its support checked.

    Batch dimensions that belong to plates stay batch dimensions, subsampled with them; all others become event dimensions. A
    prior that `entered` a plate describes the elements that are present there.
    """
    named = f"the prior {type(prior).__name__}{f' for {key!r}' if key else ''} of parameter {site}"
    if value is not None:
        prior = recast_to(prior, value, named)
    check_support(prior, site.constraint, named)
    if value is not None:
        local = value.dim() - (site.event_dim or 0) if plates else 0
        prior = _in_shape(prior, value.shape, local, plates, named, entered)
    return prior


def fit_draw(draw: Tensor, site: Param, value: Tensor | None) -> Tensor:
    """`draw`, a tensor returned by a prior function, in the dtype, on the device and of the shape of `value`."""
    if value is not None:
        if not broadcasts(draw.shape, value.shape):
            raise PriorShapeError(
                f"the prior of parameter {site} returned a tensor of shape {tuple(draw.shape)}, which does not expand to the "
                f"parameter's {tuple(value.shape)}. Return a tensor of that shape."
            )
        draw = draw.to(dtype=value.dtype, device=value.device).expand(value.shape)
    if is_validation_enabled() and not is_all_true(site.constraint.check(draw)):
        raise PriorSupportError(
            f"the prior of parameter {site} returned values that do not satisfy the parameter's constraint "
            f"{site.constraint!r}. Draw from {suggestions(site.constraint)}."
        )
    return draw


def check_answer(answer: Site, site: Param) -> None:
    """Check the answer for a lifted parameter: its dtype, and if it is an observation that it lies in the support."""
    if not isinstance(answer, Sample) or not isinstance(answer.fn, Distribution):
        return
    if answer.is_observed:
        check_value(answer)
        return
    own, drawn = answer.init, answer.value
    if own is None or not own.is_floating_point() or not isinstance(drawn, Tensor) or drawn.dtype == own.dtype:
        return
    # Not every distribution can be cast. A value of a different dtype given by another handler is not the prior's fault.
    if floating_dtype(answer.fn) != own.dtype and not isinstance(unwrap(answer.fn), ImproperUniform):  # which gives no draws
        raise _wrong_dtype(f"the prior {type(answer.fn).__name__} of parameter {site}", drawn.dtype, own.dtype)


def truncated(prior: Distribution, site: Param, *, always: bool) -> Distribution:
    """`prior` on the parameter's constraint alone, if it reaches beyond and has a cdf by which it is normalised there.

    One of all real numbers was hardly meant for a value that is bounded, and is left as it is unless `always`.
    """
    limits = [getattr(site.constraint, name, None) for name in ("lower_bound", "upper_bound")]
    try:
        support: Any = support_of(prior)
        wider = not inside(support, site.constraint) and (always or bounds(support) != (-math.inf, math.inf))
        if wider and not prior.event_shape and any(limit is not None for limit in limits):
            return Truncated(prior, *limits)
    except (NotImplementedError, DensityError):
        pass
    return prior


def recast_to(prior: Distribution, value: Tensor, named: str) -> Distribution:
    """`prior` in the dtype and on the device of `value`; for integers the dtype is left unchanged."""
    if value.is_complex():
        raise PriorTypeError(f"{named} draws real values; the parameter has {value.dtype}. Lift its parts as two parameters.")
    if not value.is_floating_point():
        return prior
    cast = recast(prior, value.dtype, value.device)
    found = floating_dtype(cast)
    if found not in (None, value.dtype):
        raise _wrong_dtype(named, found, value.dtype)
    return cast


def _wrong_dtype(named: str, found: Any, expected: torch.dtype) -> PriorTypeError:
    return PriorTypeError(
        f"{named} draws values of {found} and cannot be cast; the parameter has {expected}. "
        "Build the prior with arguments of that dtype, or convert the parameter."
    )


def _in_shape(
    prior: Distribution, shape: torch.Size, local: int, plates: tuple[Frame, ...], named: str, entered: Collection[str]
) -> Distribution:
    """`prior` expanded to `shape`, or to its elements present in the plates, which own the first `local` dimensions."""
    events = len(prior.event_shape)
    split = len(shape) - events
    present = list(shape)
    for frame in plates:
        at = local + (frame.dim or 0)
        present[at] = frame.length
        if frame.indices is None or split < local or (frame.name in entered and frame.length == frame.size):
            continue
        # An argument with one entry per element is indexed; one for all elements, or for those present, fits as it is.
        dim = at - split
        if -dim <= len(prior.batch_shape) and prior.batch_shape[dim] == frame.size != 1:
            chosen = select(prior, dim, frame.indices)
            if chosen is None:
                raise PriorShapeError(
                    f"{named} cannot be subsampled with plate {frame.name!r}: its arguments cannot be indexed. "
                    "Give it one argument for all elements, or do not subsample the plate."
                )
            prior = chosen
    batch = torch.Size(present[: max(split, 0)])
    if (
        split < local
        or shape[split:] != prior.event_shape
        or not (prior.batch_shape == batch or broadcasts(prior.batch_shape, batch))
    ):
        raise PriorShapeError(
            f"{named} has shape {tuple(prior.batch_shape + prior.event_shape)} (batch {tuple(prior.batch_shape)}, event "
            f"{tuple(prior.event_shape)}), which does not expand to the parameter's {tuple(shape)}"
            + (f", of which plates own the first {local}" if local else "")
            + ". Use a scalar prior, or one of exactly that shape."
        )
    return with_events(expand(prior, batch, named), split - local)


def expand(prior: Distribution, batch: torch.Size, named: str) -> Distribution:
    """`prior` with the batch shape `batch`."""
    if prior.batch_shape == batch:
        return prior
    try:
        wide: Distribution = prior.expand(batch)
    except NotImplementedError:
        raise PriorShapeError(
            f"{named} has batch shape {tuple(prior.batch_shape)} and no method expand to bring it to {tuple(batch)}. "
            "Give it that shape, or add the method to its class."
        ) from None
    return wide


def with_events(prior: Distribution, count: int) -> Distribution:
    """`prior` with `count` more event dimensions."""
    return Independent(prior, count) if count else prior


def check_support(prior: Distribution, constraint: constraints.Constraint, named: str) -> None:
    """Check that the values of `prior` satisfy `constraint`: by its support where that decides, otherwise by draws."""
    try:
        support: Any = support_of(prior)
    except NotImplementedError:
        support = None
    answer = None if support is None or _is_point(prior) else inside(support, constraint)
    if answer is None:
        answer = _draws_inside(prior, constraint, named)
    if not answer:
        known = support is not None and not _is_point(prior)
        found = f"has support {support!r}, which is" if known else "has values that are"
        raise PriorSupportError(
            f"{named} {found} not inside the parameter's constraint {constraint!r}. Use {suggestions(constraint)}."
        )


def _is_point(prior: Any) -> bool:
    """Whether all mass is at one point, which is more informative than the support."""
    while hasattr(prior, "base_dist"):
        prior = prior.base_dist
    return isinstance(prior, Delta)


def _draws_inside(prior: Distribution, constraint: constraints.Constraint, named: str) -> bool:
    """Whether draws satisfy the constraint; they come from a separate generator and are hidden from captures."""
    with torch.no_grad(), without_dispatch_modes(), drawing_from(torch.Generator().manual_seed(0)):
        try:
            return bool(constraint.check(prior.sample(torch.Size([_DRAWS]))).all())
        except (RuntimeError, IndexError, DensityError) as error:
            raise PriorSupportError(
                f"{named}: whether its values satisfy the parameter's constraint {constraint!r} is unknown ({error}). "
                f"Use {suggestions(constraint)}."
            ) from error
