"""How a program is called: with tensors in the place of arrays, and with an error of ours where it cannot be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from sursum.common.settings import check_setting
from sursum.core.arguments import with_data
from sursum.core.failure import explain
from sursum.errors import CallError, HandlerError, SursumError


class Wrapper:
    """What stands around a program, `fn`, and is called in its place."""

    fn: Callable[..., Any] | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """A model, with handlers around it or without, and its arguments.

    It lives in the process that made it: pickled with something else it comes back as None, since a model may be any
    function and its arguments all of the data.

    Example:
        >>> Program(lambda x: 2 * x, (3,))()
        6
    """

    model: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        return self.model(*self.args, **self.kwargs)

    def __copy__(self) -> Program:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _left_behind, ()


def _left_behind() -> None:
    """What a pickled program comes back as."""


class valued:
    """While this is entered, a program is run for its values alone, and may differentiate by tensors of its own.

    Under `no_grad` it could not. Nothing is kept for a backward pass, as long as what the program is given needs no gradient.
    """

    def __enter__(self) -> None:
        self._modes = torch.inference_mode(False), torch.enable_grad()
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


def refuse_coroutines(fn: Callable[..., Any]) -> None:
    """Raise HandlerError where `fn` is a coroutine or generator function: it would run after its handlers are left."""
    inner = innermost(fn)
    candidates = (inner,) if isinstance(inner, nn.Module) else (inner, getattr(inner, "__call__", None))  # noqa: B004
    for candidate in candidates:
        for test, kind in (
            (inspect.iscoroutinefunction, "a coroutine"),
            (inspect.isgeneratorfunction, "a generator"),
            (inspect.isasyncgenfunction, "an asynchronous generator"),
        ):
            if candidate is not None and test(candidate):
                raise _deferred(inner, f"is {kind}")


def run_program(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What `fn` returns, called with tensors in the place of arrays and columns.

    Raises:
        CallError: `fn` does not take these arguments, or one of them holds no numbers. A TypeError from its own body is left
            as it is.
        HandlerError: the result has not run yet, as the coroutine that a plain function may return.
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
            raise _deferred(innermost(fn), f"returned {kind}")
    return result


def _misfit(fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Why `fn` cannot be called with these arguments; None where it can, or where its signature is not known."""
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
            f"the program {name}{signature} cannot be called with ({', '.join(given)}): {error}. Give what it takes, its data, "
            "to `run`, and the settings of a method to its class: Fit(model, seed=0).run(x, y), MCMC(kernel, seed=0).run(x, y)."
        )
    return None


def innermost(fn: Any) -> Any:
    """The function or module that handlers and `functools.partial` are wrapped around."""
    while isinstance(fn, (partial, Wrapper)):
        fn = fn.func if isinstance(fn, partial) else fn.fn
    return fn


def _deferred(inner: Any, what: str) -> HandlerError:
    return HandlerError(
        f"the program {getattr(inner, '__qualname__', repr(inner))} {what}: its body would run after the handlers around "
        "it are left. Write it as a plain function that returns its result."
    )


def check_program(name: str, program: Any, error: type[SursumError]) -> None:
    """That a setting is a program.

    Raises:
        SursumError: `error`, where it is not a callable.
        HandlerError: it is a coroutine or a generator.
    """
    check_setting(name, callable(program), program, "a program, a callable", error, "give the function or `nn.Module`")
    refuse_coroutines(program)
