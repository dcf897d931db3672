"""The checks at a site, and the switch for them.

The process-wide flag of `torch.distributions` is neither trusted nor touched: making a `torch.compile` wrapper switches it
off globally. Checks on tensors go through `torch._is_all_true`, like torch's own, so that a capture turns a check
on a value that depends on q into a guard of the density.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution, constraints
from torch.distributions.utils import lazy_property

from sursum.common.torch_private import DisableTorchFunction, is_all_true
from sursum.core.messages import Factor, Frame, Sample
from sursum.core.scope import own_batch, plate_nesting
from sursum.core.valid_data import VALID
from sursum.distributions.fluent import Masked, unwrap
from sursum.distributions.shapes import broadcast_shapes
from sursum.distributions.supports import holds, support_of
from sursum.errors import ArgumentError, ObservationError, OptionError, PlateError, SiteError

_ENABLED: ContextVar[bool] = ContextVar("validation", default=True)


def is_validation_enabled() -> bool:
    """Whether sites are checked in this thread or task: True unless `enable_validation(False)` was called."""
    return _ENABLED.get()


class enable_validation:
    """Switch the checks on or off, in this thread or task; as a context manager, until it exits.

    Example:
        >>> with enable_validation(False):
        ...     is_validation_enabled()
        False
        >>> is_validation_enabled()
        True
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled, self._before = enabled, _ENABLED.get()
        _ENABLED.set(enabled)

    def __enter__(self) -> enable_validation:
        _ENABLED.set(self._enabled)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _ENABLED.set(self._before)


class validation_enabled:
    """The checks switched on or off inside a `with` block, in this thread or task. `is_validation_enabled()` asks.

    Example:
        >>> with validation_enabled(False):
        ...     is_validation_enabled()
        False
        >>> is_validation_enabled()
        True
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> validation_enabled:
        self._before.append(_ENABLED.get())
        _ENABLED.set(self._enabled)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        _ENABLED.set(self._before.pop())

    def __bool__(self) -> bool:
        raise OptionError(
            "validation_enabled(…) switches the checks inside a `with` block, and has no truth value: ask "
            "is_validation_enabled()."
        )


def check_fn(site: Sample) -> None:
    """Check that `site.fn` is a distribution whose arguments satisfy their constraints."""
    fn = site.fn
    if not isinstance(fn, Distribution):
        given = f"the class {fn.__name__}" if isinstance(fn, type) else f"{type(fn).__name__} {fn!r}"
        raise SiteError(
            f"site {site} needs a Distribution and got {given}. "
            f"Write sample({site.name!r}, dist.Normal(0, 1)), with an instance."
        )
    # While torch's own flag is on, constructors have checked, and an explicit validate_args=False is respected.
    if is_validation_enabled() and not Distribution._validate_args:
        _check_arguments(site, fn)


def _check_arguments(site: Sample, fn: Distribution) -> None:
    """Check that the arguments of `fn`, and of the distributions that it is composed of, satisfy their constraints."""
    for part in vars(fn).values():
        if isinstance(part, Distribution):
            _check_arguments(site, part)
    if fn._validate_args:
        return
    for name, constraint in fn.arg_constraints.items():
        if constraints.is_dependent(constraint):
            continue
        if name not in vars(fn) and isinstance(getattr(type(fn), name, None), lazy_property):
            continue
        value = getattr(fn, name)
        valid = constraint.check(value)
        if not is_all_true(valid):
            raise ArgumentError(
                f"site {site}: the argument {name!r} of {type(fn).__name__} must satisfy {constraint!r}; "
                f"{_offenders(value, valid)}. Constrain the values that it is computed from."
            )


def check_shape(site: Sample) -> None:
    """Check that value and distribution fit, and that neither is broadcast beyond the shape that the program declares.

    They may broadcast to the value's shape, or to that of the plates. Anything else is a density with more terms than
    values: a column (n, 1) in a plate of n against n values has n · n.
    """
    value, fn = site.value, site.fn
    if not isinstance(fn, Distribution):
        return
    if isinstance(value, Tensor) and value.shape == fn.batch_shape + fn.event_shape and not value.is_complex():
        return  # nothing broadcasts
    check_fits(site)
    own = value.shape[: value.dim() - len(fn.event_shape)]
    joint = broadcast_shapes(fn.batch_shape, own)
    if _stray(joint, own, site.plates):
        raise ObservationError(
            f"the value given to site {site} has batch shape {tuple(own)}, and its distribution has {tuple(fn.batch_shape)}"
            f"{_in_plates(site.plates)}: together they broadcast to {tuple(joint)}, a shape that neither value nor plates "
            "have, so that values would be counted more than once. Give both the same shape, for example with squeeze(-1) on "
            "a network's output; or give the dimension a plate; or make it an event dimension with .to_event(…)."
        )


def check_factor(site: Factor) -> None:
    """Check that plates do not expand the term of a factor to a shape that neither has.

    Call it before the site is placed.
    """
    if not is_validation_enabled():
        return
    own = site.value.shape
    own = own_batch(own)
    joint = broadcast_shapes(own, _shape(site.plates))
    if _stray(joint, own, site.plates):
        raise PlateError(
            f"the term of factor {site} has shape {tuple(own)}{_in_plates(site.plates)}: together they broadcast to "
            f"{tuple(joint)}, a shape that neither has, so that the term would be counted more than once. Use squeeze(-1), sum "
            "over the dimension, or give it a plate."
        )


def check_mask(site: Sample | Factor) -> None:
    """Check that the mask of a site does not make it larger."""
    if not isinstance(site.mask, Tensor) or not isinstance(site.value, Tensor) or not is_validation_enabled():
        return
    own = site.value.shape
    if isinstance(site, Sample):
        if not isinstance(site.fn, Distribution):
            return
        own = broadcast_shapes(site.fn.batch_shape, own[: len(own) - len(site.fn.event_shape)])
    own, masked = own_batch(own), own_batch(site.mask.shape)
    try:
        joint = broadcast_shapes(own, masked)
    except RuntimeError:
        joint = None
    if joint is None or _without_ones(joint) != _without_ones(own):
        raise PlateError(
            f"site {site} has batch shape {tuple(own)}, but its mask has shape {tuple(site.mask.shape)}, which does not "
            "broadcast to it. A mask selects the elements of a site that count: give it the site's batch shape, or give "
            "the dimension a plate."
        )


def _stray(joint: torch.Size, own: torch.Size, plates: tuple[Frame, ...]) -> bool:
    """Whether a batch shape has dimensions that belong neither to a value of batch shape `own` nor to `plates`, except
    those in which the whole program is repeated."""
    shapes = (_without_ones(_once(shape, plates)) for shape in (own, _shape(plates)))
    return _without_ones(_once(joint, plates)) not in shapes


def _once(shape: Sequence[int], plates: tuple[Frame, ...]) -> torch.Size:
    """A batch shape without the repetitions of the whole program, and without the values of discrete sites."""
    shape = own_batch(torch.Size(shape))
    repeated = {frame.dim for frame in plates if frame.repeats}
    return torch.Size(1 if dim - len(shape) in repeated else size for dim, size in enumerate(shape))


def _shape(plates: tuple[Frame, ...]) -> torch.Size:
    """The batch shape of these plates."""
    sizes = {frame.dim: frame.length for frame in plates if frame.dim is not None}
    return torch.Size(sizes.get(dim, 1) for dim in range(min(sizes, default=0), 0))


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its leading dimensions of size 1."""
    first = next((place for place, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])


def _in_plates(plates: tuple[Frame, ...]) -> str:
    found = [f"{frame.name!r} ({frame.length} at dim {frame.dim})" for frame in plates if frame.dim is not None]
    return f", in plate{'s' * (len(found) > 1)} {', '.join(found)}" if found else ", in no plate"


def check_fits(site: Sample) -> None:
    """Check that the shapes of value and distribution fit without broadcasting each other."""
    value, fn = site.value, site.fn
    if not isinstance(fn, Distribution):
        return
    if not isinstance(value, Tensor):
        raise ObservationError(
            f"the value given to site {site} is a {type(value).__name__}. It must be a tensor: torch.as_tensor(value)."
        )
    if value.is_complex():
        raise ObservationError(
            f"the value given to site {site} is complex ({value.dtype}). Real values were expected. Give its real and "
            "imaginary parts (`value.real`, `value.imag`) to two sites, or `torch.view_as_real(value)` to one."
        )
    events = len(fn.event_shape)
    batch, own = (_once(one, site.plates) for one in (fn.batch_shape, value.shape[: value.dim() - events]))
    try:
        joint = broadcast_shapes(batch + fn.event_shape, own + value.shape[value.dim() - events :])
    except RuntimeError:
        joint = None
    fits = joint is not None and value.shape[value.dim() - events :] == fn.event_shape
    fits = fits and _without_ones(broadcast_shapes(batch, own)) in (_without_ones(batch), _without_ones(own))
    if not fits:
        grown = "" if joint is None else f", which broadcast to {tuple(joint)}"
        raise ObservationError(
            f"the value given to site {site} has shape {tuple(value.shape)}, its distribution has batch shape "
            f"{tuple(fn.batch_shape)} and event shape {tuple(fn.event_shape)}{grown}. Give both the same shape, "
            "for example with squeeze(-1) or unsqueeze(-1)."
        )


def check_value(site: Sample) -> None:
    """Check that a given value lies in the support of its site and is finite, wherever it is not masked."""
    fn, value = site.fn, site.value
    if not is_validation_enabled() or not isinstance(fn, Distribution) or value is None:
        return
    with DisableTorchFunction():
        check_shape(site)
    core, mask = unwrap(fn), site.mask
    if isinstance(fn, Masked):
        mask = fn.mask_tensor if mask is None else fn.mask_tensor & mask
    # An explicit validate_args=False is respected; one implied by torch's flag is not.
    if "_validate_args" in vars(core) and not core._validate_args and Distribution._validate_args:
        return
    try:
        # A mixture checks values against each of its components; for an affine map we compute the image ourselves.
        support: Any = support_of(fn) if isinstance(core, TransformedDistribution) else fn.support
    except NotImplementedError:
        support = None
    known = VALID.get() if mask is None else None
    if known is not None and known.holds(value, support):
        return
    everything = not value.is_floating_point() or getattr(support, "accepts_nonfinite", False)  # missing values, no bounds
    finite = torch.ones_like(value, dtype=torch.bool) if everything else torch.isfinite(value)
    for _ in fn.event_shape:
        finite = finite.all(-1)
    inside = finite if support is None else finite & holds(support, value)
    if mask is not None:
        inside = inside | ~torch.as_tensor(mask)
    several = inside.dim() - (nesting if (nesting := plate_nesting()) is not None else inside.dim())
    if several > 0:  # it need not be possible for all values of discrete sites
        inside = inside.flatten(0, several - 1).any(0)
    if not is_all_true(inside):
        what = "is outside the support" if bool((finite | inside).all()) else "is not finite or outside the support"
        raise ObservationError(
            f"the value given to site {site} {what} {support!r} of {type(fn).__name__}; "
            f"{_offenders(value, inside)}. Correct the data, mask them (poutine.mask), or choose a distribution with "
            "that support."
        )
    if known is not None:
        known.add(value, support)


def _offenders(value: Any, valid: Tensor) -> str:
    """The first few elements of `value` where `valid` is False, with their indices."""
    value = torch.as_tensor(value).detach()
    bad = (~valid).nonzero()
    if not bad.numel() and valid.dim():
        return "found none"
    shown = []
    for index in bad[:3].tolist():
        place = f"[{', '.join(map(str, index))}]" if index else ""
        element = value.expand(valid.shape + value.shape[valid.dim() :])[tuple(index)] if value.dim() >= len(index) else value
        shown.append(f"{place} = {element.tolist()!r}" if place else f"{element.tolist()!r}")
    rest = len(bad) - len(shown)
    return f"found {', '.join(shown)}" + (f" and {rest} more" if rest > 0 else "")
