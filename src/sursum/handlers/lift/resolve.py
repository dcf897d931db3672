"""What may be given as a prior, and what one that is a function returns for a parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from sursum.core.messages import Param
from sursum.distributions.randomness import drawing_from
from sursum.errors import PriorTypeError

Prior = Distribution | Mapping[str, Any] | Callable[..., Any]


def check_kind(prior: Any, key: str | None = None) -> None:
    """Check that `prior` is a distribution, a callable, or (at the top level) a mapping from names to these."""
    if isinstance(prior, Mapping) and key is None:
        for name, entry in prior.items():
            if not isinstance(name, str):
                raise PriorTypeError(
                    f"the keys of a prior must be strings, names of parameters or patterns, but one is {name!r}."
                )
            check_kind(entry, name)
        return
    is_class = isinstance(prior, type)
    if isinstance(prior, Distribution) or (callable(prior) and not is_class):
        return
    at = "" if key is None else f" for {key!r}"
    found = f"the class {prior.__name__}" if is_class else f"{prior!r}"
    if is_class and issubclass(prior, Distribution):
        found += f"; write {prior.__name__}(…)"
    raise PriorTypeError(
        f"the prior{at} must be a Distribution, a callable that returns one{'' if key else ', or a mapping of names to these'}"
        f", but it is {found}."
    )


def consult(
    entry: Callable[..., Any], site: Param, value: Tensor | None, more: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """What a prior that is a function returns for the parameter's value, name, constraint, event_dim.

    Args:
        more: what else it is passed, if it takes it by keyword.
    """
    given = [] if value is None else [value]
    named = _keywords_for(entry, site, given, more)
    with drawing_from(site.generator):
        answer = entry(*given, **named)
    if answer is None or isinstance(answer, (Distribution, Tensor)):
        return answer
    raise PriorTypeError(
        f"the prior of parameter {site} returned {answer!r}. It must return a Distribution, a tensor, or None to leave "
        "this one a parameter."
    )


def _keywords_for(entry: Callable[..., Any], site: Param, given: list[Tensor], more: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for `entry`: all that it takes, except those already bound by a `partial`.

    Also checks that it can be called with them. A TypeError raised inside it is its own, and propagates unchanged.
    """
    told = {"name": site.name, "constraint": site.constraint, "event_dim": site.event_dim, **more}
    if isinstance(entry, partial):
        told = {name: value for name, value in told.items() if name not in entry.keywords}
    try:
        signature = inspect.signature(entry)
    except (TypeError, ValueError):
        return {}
    parameters = signature.parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        told = {p.name: told[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in told}
    try:
        signature.bind(*given, **told)
    except TypeError as error:
        what = "the parameter's current value" if given else "nothing, since the program gives the parameter no value,"
        raise PriorTypeError(
            f"the prior of parameter {site} is a function with the signature {signature}, which cannot be called: {error}. It "
            f"gets {what} as its only positional argument, and by keyword any of `name`, `constraint` and "
            "`event_dim` that it takes: write `lambda value: dist.Normal(0.0, 1.0)`, or `def prior(value, *, name): …`."
        ) from None
    return told
