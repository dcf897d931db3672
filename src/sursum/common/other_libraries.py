"""Names from Pyro, NumPyro, PyMC and Stan: errors that give ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any, NoReturn, TypeVar, cast

from sursum.common.patterns import suggestion
from sursum.errors import MissingNameError, OptionError

T = TypeVar("T", bound=Callable[..., Any])


def answers(otherwise: str = "", /, **theirs: str) -> Callable[[T], T]:
    """Make a function or class suggest the right option when it is called with one that does not exist.

    Args:
        otherwise: what to do about any other option, with `{}` for its name; by default the closest option is suggested.
        theirs: for an option of another library its name here, or a sentence that says what to do.

    Raises:
        OptionError: from the decorated function or class: an option that does not exist, too many or too few arguments.

    Example:
        >>> @answers(chains="num_chains", rng_key="the seed is given where the run is set up: `seed=0`")
        ... def run(*, num_chains=4): ...
        >>> run(chains=2)
        Traceback (most recent call last):
        sursum.errors.OptionError: `run` has no option `chains`. Write `num_chains=`.
        >>> run(rng_key=0)
        Traceback (most recent call last):
        sursum.errors.OptionError: `run` has no option `rng_key`: the seed is given where the run is set up: `seed=0`.
    """

    def decorate(thing: T) -> T:
        if isinstance(thing, type):
            made: Any = thing
            made.__init__ = _wrap(made.__init__, thing.__name__, otherwise, theirs)
            return thing
        return cast(T, _wrap(thing, thing.__name__, otherwise, theirs))

    return decorate


def _wrap(called: Callable[..., Any], name: str, otherwise: str, theirs: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(called)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return called(*args, **kwargs)
        except TypeError as error:
            inside = error.__traceback__ is None or error.__traceback__.tb_next is not None
            problem = None if inside else explain_call(called, name, args, kwargs, otherwise, theirs)
            if problem is None:
                raise
            raise OptionError(problem) from None

    return checked


def explain_call(
    called: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    otherwise: str,
    theirs: Mapping[str, str],
) -> str | None:
    """What is wrong with a call of `called`; None if its arguments are valid."""
    signature = inspect.signature(called)
    parameters = {n: p for n, p in signature.parameters.items() if n != "self"}
    unknown = [option for option in kwargs if option not in parameters]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return " ".join(_explain_option(option, name, parameters, otherwise, theirs) for option in unknown)
    try:
        bound = signature.bind(*args, **kwargs).arguments
        # Python 3.13 binds the name of a positional-only parameter to `**kwargs`, and does not miss the parameter.
        for n, p in signature.parameters.items():
            if n not in bound and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(f"missing a required argument: {n!r}")
    except TypeError as error:
        places = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        named = [f"{n}=" for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
        first = f"It takes {', '.join(places) or 'nothing'} by position"
        rest = f", and by name {', '.join(named)}" if named else ""
        return f"`{name}` cannot be called this way: {error}. {first}{rest}."
    return None


def _explain_option(option: str, name: str, options: Iterable[str], otherwise: str, theirs: Mapping[str, str]) -> str:
    said = f"`{name}` has no option `{option}`"
    if option in theirs:
        return f"{said}. Write `{theirs[option]}=`." if theirs[option] in options else f"{said}: {theirs[option]}."
    return f"{said}: {otherwise.replace('{}', option)}." if otherwise else f"{said}.{suggestion(option, options)}"


def refuse_name(owner: object, name: str, theirs: Mapping[str, str]) -> NoReturn:
    """Raise for an attribute that does not exist, with what to write instead.

    Args:
        owner: the object or module that lacks the attribute.
        name: the attribute's name.
        theirs: for a name from another library, what to write here.

    Raises:
        MissingNameError: always.

    Example:
        >>> refuse_name({}, "get_samples", {"get_samples": "it is a mapping, `posterior['name']`"})
        Traceback (most recent call last):
        sursum.errors.MissingNameError: dict has no attribute 'get_samples': it is a mapping, `posterior['name']`.
    """
    if isinstance(owner, ModuleType):
        called, every = f"module {owner.__name__!r}", owner.__all__
    else:
        called, every = type(owner).__name__, dir(type(owner))
    said = f"{called} has no attribute {name!r}"
    if name.startswith("_"):
        raise MissingNameError(f"{said}.")  # Python looks up many of these, and nobody reads the message
    known = [item for item in every if not item.startswith("_")]
    raise MissingNameError(f"{said}: {theirs[name]}." if name in theirs else f"{said}.{suggestion(name, known)}")
