"""A prior made to fit its parameter: asked for, cast, expanded, its support checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.utils._python_dispatch import _disable_current_modes

from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import floating_dtype, recast, select
from sursum.errors import PriorError, PriorShapeError, PriorSupportError, PriorTypeError
from sursum.messages import Frame, Param, Sample
from sursum.patterns import lookup
from sursum.supports import inside, suggestions, support_of

Prior = Distribution | Mapping[str, Any] | Callable[..., Any]
_DRAWS = 32


def check_kind(prior: Any, key: str | None = None) -> None:
    """That `prior` is a distribution, a callable, or (at the top) a mapping of names to such."""
    if isinstance(prior, Mapping) and key is None:
        for name, entry in prior.items():
            check_kind(entry, name)
        return
    is_class = isinstance(prior, type) and issubclass(prior, Distribution)
    if isinstance(prior, Distribution) or (callable(prior) and not is_class):
        return
    at = "" if key is None else f" for {key!r}"
    found = f"the class {prior.__name__}; write {prior.__name__}(…)" if is_class else f"{prior!r}"
    raise PriorTypeError(
        f"the prior{at} must be a Distribution, a callable that returns one{'' if key else ', or a mapping of names to such'}"
        f", and it is {found}."
    )


def entry_for(prior: Prior, name: str) -> tuple[str | None, Any] | None:
    """What `prior` says of the parameter `name`, with the key that says it; None where it says nothing."""
    return lookup(prior, name) if isinstance(prior, Mapping) else (None, prior)


def consult(entry: Any, site: Param, value: Tensor | None) -> Any:
    """The answer of `entry`: itself, or what the callable returns for the parameter's value, name, constraint, event_dim."""
    if isinstance(entry, Distribution):
        return entry
    told = {"name": site.name, "constraint": site.constraint, "event_dim": site.event_dim}
    with drawing_from(site.generator):
        answer = entry(*([] if value is None else [value]), **_accepted(entry, told))
    if answer is None or isinstance(answer, (Distribution, Tensor)):
        return answer
    raise PriorTypeError(
        f"the prior of parameter {site} returned {answer!r}. It must return a Distribution, a tensor, or None to leave "
        "this one a parameter."
    )


def _accepted(entry: Callable[..., Any], told: dict[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(entry).parameters.values()
    except (TypeError, ValueError):
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return told
    return {p.name: told[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in told}


def fit(
    prior: Distribution, site: Param, value: Tensor | None, plates: tuple[Frame, ...], key: str | None
) -> Distribution:
    """`prior` in the dtype, on the device and of the shape of `value`, with its support checked.

    Batch dimensions that plates own stay batch dimensions, subsampled with them; all others become event dimensions.
    """
    named = f"the prior {type(prior).__name__}{f' for {key!r}' if key else ''} of parameter {site}"
    if value is not None:
        if value.is_floating_point():
            prior = recast(prior, value.dtype, value.device)
            if floating_dtype(prior) not in (None, value.dtype):
                raise _wrong_dtype(named, floating_dtype(prior), value.dtype)
        local = value.dim() - (site.event_dim or 0) if plates else 0
        prior = _expanded(prior, value.shape, local, named)
        prior = _present(prior, plates, named)
    _check_support(prior, site.constraint, named)
    return prior


def check_dtype(drawn: Sample, site: Param) -> None:
    """That what was drawn from a prior has the parameter's dtype: not every distribution can be cast."""
    start, value = drawn.init, drawn.value
    if start is not None and start.is_floating_point() and isinstance(value, Tensor) and value.dtype != start.dtype:
        raise _wrong_dtype(f"the prior {type(drawn.fn).__name__} of parameter {site}", value.dtype, start.dtype)


def _wrong_dtype(named: str, found: Any, expected: torch.dtype) -> PriorTypeError:
    return PriorTypeError(
        f"{named} draws values of {found} and cannot be cast; the parameter has {expected}. "
        "Build the prior with arguments of that dtype, or convert the parameter."
    )


def _expanded(prior: Distribution, shape: torch.Size, local: int, named: str) -> Distribution:
    own = prior.batch_shape + prior.event_shape
    events = len(prior.event_shape)
    split = len(shape) - events
    fits = split >= local and shape[split:] == prior.event_shape and _broadcasts(prior.batch_shape, shape[:split])
    if not fits:
        raise PriorShapeError(
            f"{named} has shape {tuple(own)} (batch {tuple(prior.batch_shape)}, event {tuple(prior.event_shape)}), which "
            f"does not expand to the parameter's {tuple(shape)}"
            + (f", of which plates own the first {local}" if local else "")
            + ". Use a scalar prior, or one of exactly that shape."
        )
    if prior.batch_shape != shape[:split]:
        prior = prior.expand(shape[:split])
    return torch_independent(prior, split - local)


def torch_independent(prior: Distribution, count: int) -> Distribution:
    """`prior` with `count` more event dimensions."""
    return torch.distributions.Independent(prior, count) if count else prior


def _present(prior: Distribution, plates: tuple[Frame, ...], named: str) -> Distribution:
    """The part of a local prior that subsampled plates have present."""
    for frame in plates:
        if frame.indices is not None and frame.dim is not None:
            chosen = select(prior, frame.dim, frame.indices)
            if chosen is None:
                raise PriorShapeError(
                    f"{named} cannot be subsampled with plate {frame.name!r}: its arguments are not one per element. "
                    "Use independent univariate priors, or a plate without subsampling."
                )
            prior = chosen
    return prior


def _broadcasts(small: torch.Size, large: torch.Size) -> bool:
    try:
        return bool(torch.broadcast_shapes(small, large) == large)
    except RuntimeError:
        return False


def _check_support(prior: Distribution, constraint: constraints.Constraint, named: str) -> None:
    support = support_of(prior)
    answer = inside(support, constraint)
    if answer is None:
        answer = _draws_inside(prior, constraint)
    if not answer:
        raise PriorSupportError(
            f"{named} has support {support!r}, which is not inside the parameter's constraint {constraint!r}. "
            f"Use {suggestions(constraint)}."
        )


def _draws_inside(prior: Distribution, constraint: constraints.Constraint) -> bool:
    """Whether draws, from a generator of our own and invisible to a capture, satisfy the constraint."""
    with torch.no_grad(), _disable_current_modes(), drawing_from(torch.Generator().manual_seed(0)):
        try:
            return bool(constraint.check(prior.sample(torch.Size([_DRAWS]))).all())
        except (RuntimeError, IndexError) as error:
            raise PriorError(f"draws from {prior!r} cannot be compared with {constraint!r}: {error}") from error
