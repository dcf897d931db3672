"""Call a program: with arrays converted to tensors, and with an error of ours where the arguments do not fit."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import nn

from sursum.common.settings import check_setting
from sursum.common.shown import abbreviate
from sursum.core.arguments import with_data
from sursum.core.failure import explain
from sursum.errors import CallError, HandlerError, OptionError, SursumError


class Wrapper:
    """A callable that wraps a program, `fn`."""

    fn: Callable[..., Any] | None = None


class OfThisProcess:
    """What belongs to the process that made it: a copy is itself, and pickled as part of another object it is None."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _leave_behind, ()


def _leave_behind() -> None:
    """What such an object is restored as."""


@dataclass(frozen=True, eq=False)
class Program(OfThisProcess):
    """A model, with or without handlers around it, and its arguments.

    It is not pickled, since a model may be any function and its arguments may be the whole data set.

    Example:
        >>> Program(lambda x: 2 * x, (3,))()
        6
    """

    model: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        return self.model(*self.args, **self.kwargs)


class valued:
    """While this is active, a program is run only for its values, but may still differentiate its own tensors.

    `no_grad` would forbid that. Nothing is saved for a backward pass, as long as the program's inputs require no gradient.
    """

    def __enter__(self) -> None:
        self._modes = torch.inference_mode(False), torch.enable_grad()
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


def refuse_coroutines(fn: Callable[..., Any]) -> None:
    """Raise HandlerError if `fn` is a coroutine or generator function, which would run after its handlers have exited; or a
    distribution, which can be called, but has no name under which to draw."""
    inner = innermost(fn)
    if isinstance(inner, torch.distributions.Distribution):
        raise HandlerError(
            f"{abbreviate(inner)} is a distribution, but a program was expected, a callable: give a function that draws from "
            'it, lambda: su.sample("x", …).'
        )
    candidates = (inner,) if isinstance(inner, nn.Module) else (inner, getattr(inner, "__call__", None))  # noqa: B004
    for candidate in candidates:
        for test, kind in (
            (inspect.iscoroutinefunction, "a coroutine"),
            (inspect.isgeneratorfunction, "a generator"),
            (inspect.isasyncgenfunction, "an asynchronous generator"),
        ):
            if candidate is not None and test(candidate):
                raise _refuse_deferred(inner, f"is {kind}")


def run_program(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call `fn`, with arrays and columns converted to tensors.

    Raises:
        CallError: `fn` does not take these arguments, or one of them does not hold numbers. A TypeError from its own body is
            left unchanged.
        HandlerError: the result has not run yet, such as a coroutine returned by a plain function.
    """
    args, kwargs = with_data(fn, args, kwargs)
    try:
        result = fn(*args, **kwargs)
    except TypeError as error:
        wrong = _misfit(fn, args, kwargs)
        if wrong is None or isinstance(error, SursumError):
            explain(error)
            raise
        raise CallError(wrong) from error
    except SursumError:
        raise
    except Exception as error:
        explain(error)
        raise
    for test, kind in (
        (inspect.iscoroutine, "a coroutine"),
        (inspect.isgenerator, "a generator"),
        (inspect.isasyncgen, "an asynchronous generator"),
    ):
        if test(result):
            if not inspect.isasyncgen(result):
                result.close()
            raise _refuse_deferred(innermost(fn), f"returned {kind}")
    return result


def _misfit(fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Why `fn` cannot be called with these arguments; None if it can, or if its signature is unknown."""
    if isinstance(fn, nn.Module):
        if fn._forward_pre_hooks:
            return None  # these may change the arguments
        called = fn.forward
    else:
        called = fn
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__qualname__", type(fn).__name__)
        given = [type(value).__name__ for value in args] + [f"{key}={type(value).__name__}" for key, value in kwargs.items()]
        return (
            f"the program {name}{signature} cannot be called with ({', '.join(given)}): {error}. Pass its data "
            "to `run`, and settings of a method to its class: Fit(model, seed=0).run(x, y), MCMC(kernel, seed=0).run(x, y). "
            "Of a log density that is a function of what is unknown, su.logp(function, init) makes a program."
        )
    return None


def refuse_shadowed(fn: Any, verb: str, options: Iterable[str], instead: str = "") -> None:
    """Raise where a program has a parameter that is called like an option of `verb`, which calls it.

    A parameter that `functools.partial` has given a value to is the program's own, and no longer in the way.

    Args:
        options: those of `verb`.
        instead: what to do; binding the parameter is suggested if left out.

    Raises:
        OptionError: there is one.

    Example:
        >>> refuse_shadowed(lambda y, engine="diesel": y, "compile", ["engine"])
        Traceback (most recent call last):
        sursum.errors.OptionError: `compile` has an option `engine`, and the program <lambda> a parameter of that name: ...
        >>> refuse_shadowed(partial(lambda y, engine="diesel": y, engine="diesel"), "compile", ["engine"])
    """
    taken, _ = _parameters_of(fn)
    for option in options:
        if option in taken:
            inner = innermost(fn)
            name = getattr(inner, "__qualname__", type(inner).__name__)
            remedy = instead or f"Give the program's its value first, functools.partial({name}, {option}=…), and `{verb}` that"
            raise OptionError(
                f"`{verb}` has an option `{option}`, and the program {name} a parameter of that name: which of them is meant "
                f"cannot be told. {remedy}."
            )


def refuse_misnamed(fn: Any, verb: str, kwargs: Iterable[str], theirs: Mapping[str, str]) -> None:
    """Raise where an argument that is passed on to the program was meant for an option of `verb`, and the program has none.

    Args:
        theirs: for a name that others have for an option, the option.

    Raises:
        OptionError: there is one.

    Example:
        >>> refuse_misnamed(lambda y: y, "sample", ["num_draws"], {"num_draws": "num_samples"})
        Traceback (most recent call last):
        sursum.errors.OptionError: `sample` has no option `num_draws`, and the program no such parameter. Write `num_samples=`.
    """
    taken, any_name = _parameters_of(fn)
    for name in kwargs:
        if name in theirs and name not in taken and not any_name:
            raise OptionError(f"`{verb}` has no option `{name}`, and the program no such parameter. Write `{theirs[name]}=`.")


def _parameters_of(fn: Any) -> tuple[set[str], bool]:
    """The parameters that a program takes by name, without those that `functools.partial` has given a value to, and whether
    it takes any others."""
    bound: set[str] = set()
    while isinstance(fn, (partial, Wrapper)):
        bound |= fn.keywords.keys() if isinstance(fn, partial) else set()
        fn = fn.func if isinstance(fn, partial) else fn.fn
    try:
        parameters = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters
    except (TypeError, ValueError):
        return set(), True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = {name for name, parameter in parameters.items() if parameter.kind in by_name}
    return taken - bound, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def layers(fn: Any) -> Iterator[Any]:
    """A program's handlers and other wrappers, from outside, and at last what they are wrapped around."""
    yield fn
    while isinstance(fn, (partial, Wrapper)):
        fn = fn.func if isinstance(fn, partial) else fn.fn
        yield fn


def innermost(fn: Any) -> Any:
    """The function or module that handlers and `functools.partial` are wrapped around."""
    return list(layers(fn))[-1]


_WHOLE: ContextVar[Callable[..., Any] | None] = ContextVar("sursum_whole_program", default=None)


@contextlib.contextmanager
def as_whole(program: Callable[..., Any] | None) -> Iterator[None]:
    """While a method forms the density of this program, or runs it for the first time; None where it is not known."""
    token = _WHOLE.set(program)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def whole_program() -> Callable[..., Any] | None:
    """For a program that is called: the one whose density a method forms, of which it may be a part.

    Example:
        >>> inner = lambda: whole_program()
        >>> outer = lambda: inner()
        >>> with as_whole(outer):
        ...     outer() is outer
        True
    """
    return _WHOLE.get()


def _refuse_deferred(inner: Any, what: str) -> HandlerError:
    return HandlerError(
        f"the program {getattr(inner, '__qualname__', repr(inner))} {what}: its body would run after the handlers around "
        "it have exited. Write it as a plain function that returns its result."
    )


def check_wrapped(program: Any, verb: str) -> None:
    """That what the handler `verb` is put around is a program.

    Raises:
        HandlerError: it is not a callable, or it is a coroutine or a generator.
    """
    if not callable(program):
        raise HandlerError(
            f"{verb} got {abbreviate(program)} as its program. A callable was expected, a function or a module: "
            f"{verb}(model, …), or as a decorator or in a `with` block {verb}(…) with its arguments by keyword."
        )
    refuse_coroutines(program)


def check_program(name: str, program: Any, error: type[SursumError]) -> None:
    """That a setting is a program.

    Raises:
        SursumError: `error`, where it is not a callable.
        HandlerError: it is a coroutine or a generator.
    """
    check_setting(name, callable(program), program, "a program, a callable", error, "give the function or `nn.Module`")
    refuse_coroutines(program)
