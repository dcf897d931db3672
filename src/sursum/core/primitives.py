"""The primitives of a program: `sample`, `param`, `deterministic`, `factor`. (`module` is in a separate file.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.common.other_libraries import answers
from sursum.common.shown import abbreviate
from sursum.common.torch_private import DisableTorchFunction, is_all_true
from sursum.common.user_frame import calling_line, warn
from sursum.core.arguments import as_data
from sursum.core.messages import Deterministic, Factor, Param, Sample
from sursum.core.plates import place, plate_scale, take_present
from sursum.core.runtime import perform
from sursum.core.scope import at_site, current_generator, open_plates
from sursum.core.validation import check_factor, check_fn, check_mask, check_value, is_validation_enabled
from sursum.distributions.fluent import Masked
from sursum.distributions.written import in_precision
from sursum.errors import ObservationError, PlateError, SiteError, UnusedSiteWarning

INFER = frozenset({"is_auxiliary", "is_subsample", "baseline", "enumerate", "expand", "num_samples", "tmc"})
"""The settings of a site that methods read; the last three are of enumeration."""


@answers(
    observed="obs",
    observed_mask="obs_mask",
    value="obs",
    data="obs",
    rng_key="draws come from torch's generator, or from that of `seed(model, rng_seed=0)`",
    sample_shape="write a plate around it, or `fn.expand([…]).to_event()`",
    shape="write a plate around it, or `fn.expand([…]).to_event()`",
    dims="write a plate of that name around it",
    dist="fn",
)
def sample(
    name: str,
    fn: Distribution,
    obs: Tensor | None = None,
    *,
    obs_mask: Tensor | bool | None = None,
    infer: Mapping[str, Any] | None = None,
) -> Tensor:
    r"""A random value, or an observation: the site adds :math:`\log p_{fn}(value)` to the log density.

    Args:
        name: the site's name, unique in an execution.
        fn: its distribution; inside plates it is expanded to their sizes.
        obs: the observed value, a tensor, an array or a column; None leaves the site latent, so one program serves prior,
            posterior and prediction.
        obs_mask: which elements of `obs` are there, True; its shape broadcasts with the batch shape. The others, whatever
            `obs` has in their places, are drawn at the site ``name_unobserved``, and those that are there scored at
            ``name_observed``; what the program continues with is kept as `name`.
        infer: settings of this site for inference methods: ``is_auxiliary`` of a guide's site, ``baseline``, ``enumerate``.

    Returns:
        The value, of shape ``fn.batch_shape + fn.event_shape``.

    Raises:
        SiteError: `fn` is not a distribution.
        ArgumentError: arguments outside their constraints.
        ObservationError: an observed value of the wrong shape, outside the support, or not finite.
        PlateError: `fn` does not fit the open plates.

    Warns:
        UnusedSiteWarning: a key of `infer` that looks like one that methods read, and is none.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> float(su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0)))
        2.0
    """
    if obs_mask is not None and obs is not None:
        return _partly(name, fn, obs, obs_mask, infer)
    plates = open_plates()
    if infer and not INFER.issuperset(infer):
        _say_misspelt(name, infer)
    if isinstance(fn, Distribution):
        fn = in_precision(fn)
    site = Sample(
        name=_check_name(name),
        fn=fn,
        value=as_data(obs, lambda: f"the value given to site {name!r}", ObservationError),
        is_observed=obs is not None,
        plates=plates,
        scale=plate_scale(plates),
        infer=dict(infer or {}),
        generator=current_generator(),
        where=calling_line(),
    )
    with at_site(site):
        check_fn(site)
        site = place(site)
        out = perform(site)
        if isinstance(out, Sample):
            check_mask(out)
            if out.is_observed:
                check_value(out)
    value: Tensor = out.value
    return value


def _partly(name: str, fn: Any, obs: Any, obs_mask: Any, infer: Mapping[str, Any] | None) -> Tensor:
    """A site of which some elements are observed: two sites, and what they make together."""
    _check_name(name)
    if not isinstance(fn, Distribution):
        raise SiteError(
            f"site {name!r} ({calling_line()}) has an obs_mask, and needs a Distribution, but got {abbreviate(fn)}."
        )
    data = as_data(obs, lambda: f"the value given to site {name!r}", ObservationError)
    mask = torch.as_tensor(as_data(obs_mask, lambda: f"the obs_mask of site {name!r}", ObservationError))
    if mask.dtype != torch.bool:
        raise ObservationError(
            f"the obs_mask of site {name!r} ({calling_line()}) has dtype {mask.dtype}. It must be boolean, True where "
            "a value is observed, such as ~torch.isnan(data)."
        )
    drawn = sample(f"{name}_unobserved", fn, infer=infer)
    sample(f"{name}_observed", Masked(fn, mask), obs=data, infer=infer)
    there = mask.reshape((*mask.shape, *(1,) * len(fn.event_shape)))
    return deterministic(name, torch.where(there, data.to(drawn.dtype), drawn), len(fn.event_shape))


@answers(
    init_value="init",
    init_tensor="init",
    initial_value="init",
    initval="init",
    support="constraint",
    shape="give a value of that shape: `torch.zeros(3)`",
)
def param(
    name: str,
    init: Tensor | float | Callable[[], Tensor] | None = None,
    constraint: constraints.Constraint = constraints.real,
    event_dim: int | None = None,
) -> Tensor:
    """A parameter: a value to be found by optimisation, or to be lifted to a latent site from outside.

    Args:
        name: the parameter's name; reading it again gives the same value where a handler keeps it, such as a store or a lift.
            In a program that runs alone each read evaluates its own `init`: give the same one.
        init: its initial value, or a function that returns it; None reads a value that a handler holds.
        constraint: the set of its values.
        event_dim: how many rightmost dimensions make up one value. If given, the dimensions left of them belong to the
            open plates (the parameter is local: subsampled with them); if None, the parameter is global.

    Returns:
        The current value.

    Raises:
        SiteError: no value is known, or the initial value violates the constraint.
        PlateError: plates claim only some of the batch dimensions.

    Example:
        >>> import sursum as su, torch
        >>> su.param("s", torch.tensor(0.5))
        tensor(0.5000)
    """
    if not isinstance(constraint, constraints.Constraint):
        raise SiteError(
            f"the constraint of parameter {name!r} ({calling_line()}) is {abbreviate(constraint)}, but must be one of "
            "`sursum.distributions.constraints`, such as `constraints.positive`."
        )
    if isinstance(init, (np.ndarray, np.generic)):
        init = torch.as_tensor(init)
    initial = torch.tensor(float(init)) if isinstance(init, (int, float)) else init
    if initial is not None and not isinstance(initial, Tensor) and not callable(initial):
        raise SiteError(
            f"the initial value of parameter {name!r} ({calling_line()}) is a {type(init).__name__}. It must be a tensor, "
            "a number, or a function that returns a tensor: torch.as_tensor(value)."
        )
    site = Param(
        name=_check_name(name),
        initial=initial,
        constraint=constraint,
        event_dim=event_dim,
        plates=open_plates(),
        generator=current_generator(),
        where=calling_line(),
    )
    return read(site)


def read(site: Param) -> Tensor:
    """The value of a parameter, after all handlers."""
    if isinstance(site.initial, Tensor) and site.constraint is not constraints.real and is_validation_enabled():
        # Accessing a network's own parameter here does not count as reading it, which densities detect.
        with DisableTorchFunction():
            valid = site.constraint.check(site.initial.detach())
        if not is_all_true(valid):
            raise SiteError(
                f"the initial value of parameter {site} does not satisfy its constraint {site.constraint!r}: "
                f"{site.initial.tolist()}. Start inside the constraint."
            )
    with at_site(site):
        out = perform(site)
        value: Tensor = out.value
        return take_present(out, value) if isinstance(out, Param) else value


def deterministic(name: str, value: Tensor, event_dim: int | None = None) -> Tensor:
    """Record `value` under `name`: it appears in traces and posteriors, and adds nothing to the log density.

    Args:
        name: the site's name.
        value: any tensor, or a number.
        event_dim: how many rightmost dimensions make up one value; those left of them belong to the plates.

    Returns:
        The value.

    Raises:
        SiteError: the value is neither a tensor nor a number.

    Example:
        >>> import sursum as su, torch
        >>> su.deterministic("twice", 2 * torch.tensor(3.0))
        tensor(6.)
    """
    name = _check_name(name)
    if not isinstance(value, (Tensor, int, float, np.ndarray, np.generic)):
        raise SiteError(
            f"the value of the deterministic site {name!r} ({calling_line()}) is {value!r}, {_kind(value)}. A tensor or a "
            "number was expected: torch.as_tensor(value)."
        )
    site = Deterministic(name=name, value=value, event_dim=event_dim, plates=open_plates(), where=calling_line())
    with at_site(site):
        out: Tensor = perform(site).value
    return out


def factor(name: str, log_factor: Tensor) -> None:
    r"""Add `log_factor` to the log density: :math:`\log p \mathrel{+}= \sum log\_factor`.

    Args:
        name: the site's name.
        log_factor: a tensor; inside plates it is expanded to their sizes, like a distribution, and scaled with them.

    Raises:
        SiteError: the term is neither a tensor of real numbers nor a number.
        PlateError: the tensor does not fit the open plates.

    Example:
        >>> import sursum as su, torch
        >>> with su.poutine.trace() as t:
        ...     su.factor("penalty", torch.tensor(-2.0))
        >>> float(t.trace.log_prob_sum())
        -2.0
    """
    name, plates = _check_name(name), open_plates()
    number = isinstance(log_factor, (Tensor, int, float, np.ndarray, np.generic))
    if not number or (isinstance(log_factor, Tensor) and log_factor.is_complex()):
        raise SiteError(
            f"the term of the factor {name!r} ({calling_line()}) is {log_factor!r}, {_kind(log_factor)}. A tensor of real "
            "numbers, or a number, was expected."
        )
    site = Factor(
        name=name,
        value=torch.as_tensor(log_factor),
        plates=plates,
        scale=plate_scale(plates),
        where=calling_line(),
    )
    with at_site(site):
        placed = place(site)
        check_factor(site)
        check_mask(perform(placed))


def _kind(value: Any) -> str:
    """The kind of `value`, with an article."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _say_misspelt(name: str, infer: Mapping[str, Any]) -> None:
    """Say which settings of a site look like those of a method, and are none: others are for handlers of one's own."""
    for key in infer:
        close = get_close_matches(str(key), INFER, n=1) if key not in INFER else []
        if close:
            warn(f"site {name!r} has infer={{{key!r}: …}}, which no method reads: write {close[0]!r}.", UnusedSiteWarning)


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise SiteError(f"a site's name must be a non-empty string, not {name!r} ({calling_line()}).")
    return name


def subsample(data: Any, event_dim: int = 0) -> Tensor:
    """The elements of `data` that are present in the open plates.

    Along each dimension that belongs to a subsampled plate, whole data are indexed with the plate's indices. What has the size
    of the subsample there already is left as it is.

    Args:
        data: a tensor or an array; the dimensions left of its last `event_dim` are those of the plates.
        event_dim: how many rightmost dimensions make up one value.

    Returns:
        A tensor with the elements that are present.

    Raises:
        PlateError: a dimension with the size neither of the plate nor of its subsample.

    Example:
        >>> import sursum as su, torch
        >>> with su.plate("data", 10, subsample=torch.tensor([7, 2])):
        ...     su.subsample(torch.arange(10.0))
        tensor([7., 2.])
    """
    value = as_data(data, lambda: "the data to be subsampled", ObservationError)
    if not isinstance(value, Tensor):
        raise ObservationError(f"subsample takes a tensor or an array, but got {_kind(data)}: torch.as_tensor(value).")
    for frame in open_plates():
        if frame.dim is None or frame.indices is None:
            continue
        dim = frame.dim - event_dim
        size = value.shape[dim] if value.dim() >= -dim else 1
        if size == frame.size:
            value = value.index_select(dim, frame.indices)
        elif size not in (1, len(frame.indices)):
            raise PlateError(
                f"the data given to subsample ({calling_line()}) have shape {tuple(value.shape)}, {size} at dim {dim}, where "
                f"plate {frame.name!r} has size {frame.size} and {len(frame.indices)} of its elements present. Give data of "
                "that size."
            )
    return value
