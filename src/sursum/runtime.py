"""The stack of handlers, `perform`, and `Messenger`, the base class of every handler.

A handler is one method, `handle(site)`. While it works only what lies outside it is on the stack, so `perform(site)`
means "ask outwards": code before it is the way up, code after it the way down, and not calling it stops the message.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import torch
from torch import Tensor, nn

from sursum.arguments import with_data
from sursum.errors import CallError, HandlerError, SursumError
from sursum.failure import explain
from sursum.messages import Frame, Site, Step
from sursum.shown import shown

_STACK: ContextVar[tuple[Messenger, ...]] = ContextVar("handlers", default=())
_SITE: ContextVar[Site | None] = ContextVar("site", default=None)

T = TypeVar("T")


def perform(site: Site) -> Any:
    """Ask the innermost handler what happens at `site`; with no handler left, the site runs."""
    stack = _STACK.get()
    if not stack:
        return site.run()
    token = _STACK.set(stack[:-1])
    try:
        return stack[-1].handle(site)
    finally:
        _STACK.reset(token)


@dataclass_transform(field_specifiers=(field,))
def handler(cls: type[T]) -> type[T]:
    """Make a class of a handler's fields; handlers compare by identity."""
    made: Any = dataclass(eq=False)(cls)
    made._at_first = tuple((item.name, make) for item in dataclasses.fields(made) if not item.init and (make := _maker(item)))
    return cast(type[T], made)


def _maker(item: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    """What makes the first value of a field, if it has one."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory
    return None if item.default is dataclasses.MISSING else lambda: item.default


def required() -> Any:
    """The default of a field that a handler cannot do without: `data: Mapping = required()`."""
    return _REQUIRED


class _Required:
    def __repr__(self) -> str:
        return "required"


_REQUIRED = _Required()


@handler
class Messenger:
    """A handler: used as ``condition(model, data=d)``, as ``@condition(data=d)`` or as ``with condition(data=d):``.

    Each call and each ``with`` runs under a fresh copy, so that one handler object can be nested in itself, pickled, and
    shared by threads and tasks. Fields that hold the state of a run are declared ``field(init=False)``.

    Example, a handler in full:
        >>> import sursum as su, torch
        >>> from sursum.runtime import Messenger, handler, perform
        >>> @handler
        ... class shout(Messenger):
        ...     def handle(self, site):
        ...         print(site.name.upper())
        ...         return perform(site)
        >>> with shout():
        ...     su.deterministic("x", torch.tensor(1.0))
        X
        tensor(1.)
    """

    _at_first: ClassVar[tuple[tuple[str, Callable[[], Any]], ...]] = ()
    of_capture: ClassVar[bool] = False  # whether it is there for the sake of a capture, and is no part of the program

    fn: Callable[..., Any] | None = None

    origin: Messenger | None = field(init=False, repr=False, default=None)
    noted: set[str] = field(init=False, repr=False, default_factory=set)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if item.init and getattr(self, item.name) is _REQUIRED:
                verb = type(self).__name__
                raise TypeError(f"{verb} needs `{item.name}`: {verb}(model, {item.name}=…) or with {verb}({item.name}=…)")
        if self.fn is not None:
            if not callable(self.fn):
                verb = type(self).__name__
                raise HandlerError(
                    f"{verb} got {shown(self.fn)} for its program. A function or a module was expected, something that can be "
                    f"called: {verb}(model, …), or as a decorator or in a `with` block {verb}(…) with its arguments by keyword."
                )
            refuse_coroutines(self.fn)

    def handle(self, site: Site) -> Any:
        """What happens at `site`; `perform(site)` asks outwards."""
        return perform(site)

    def finish(self) -> None:
        """Called on the copy that ran when its execution ends, unless an exception is in flight."""

    # What a handler may tell those inside it, without a message.

    @property
    def frame(self) -> Frame | None:
        """The plate that this handler opens."""
        return None

    @property
    def draws(self) -> torch.Generator | None:
        """Where draws inside this handler come from."""
        return None

    def recall(self, name: str) -> Tensor | None:
        """The current value of the parameter `name`, where this handler keeps it."""
        return None

    @property
    def roller(self) -> Callable[[Any], Any] | None:
        """Who runs the steps of a scan inside this handler, where that is not Python, one after another."""
        return None

    def leave(self, step: Step) -> None:
        """Called when the last step of a scan inside this handler, `step`, has run."""

    def note(self, name: str) -> bool:
        """True the first time that this handler object, or a copy of it, has something to say of `name`."""
        first = name not in self.noted
        self.noted.add(name)
        return first

    def fresh(self) -> Self:
        """The copy under which one execution runs: what the handler was given, and a state of its own."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        for name, make in self._at_first:
            copy.__dict__[name] = make()
        copy.origin, copy.noted = self, self.noted
        return copy

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fn = self.fn
        if fn is None:
            if len(args) == 1 and callable(args[0]) and not kwargs:
                return self.around(args[0])
            raise TypeError(
                f"this {type(self).__name__} has no program yet: call it with one, as a decorator does, "
                f"or write {type(self).__name__}(model, …)"
            )
        with self:
            return run_program(fn, args, kwargs)

    def around(self, fn: Callable[..., Any]) -> Self:
        """This handler with `fn` for its program."""
        return dataclasses.replace(self, fn=fn)

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """As a method's decorator: the program bound to the instance, as a plain function in a class would be."""
        if instance is None or not hasattr(self.fn, "__get__"):
            return self
        bound = self.around(self.fn.__get__(instance, owner))  # type: ignore[union-attr]
        bound.noted = self.noted
        return bound

    def __enter__(self) -> Any:
        running = self.fresh()
        _STACK.set((*_STACK.get(), running))
        return running

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        stack = _STACK.get()
        if not stack or stack[-1].origin is not self:
            inner = type(stack[-1]).__name__ if stack else "nothing"
            # Whatever was entered after this one and never left would go on handling for ever.
            mine = [i for i, messenger in enumerate(stack) if messenger.origin is self]
            if mine:
                _STACK.set(stack[: mine[-1]])
            raise HandlerError(
                f"{type(self).__name__} is left while {inner} is the innermost handler. Handlers are left in the "
                "reverse order in which they were entered: nest the `with` blocks."
            )
        _STACK.set(stack[:-1])
        if kind is None:
            stack[-1].finish()


@handler
class Global(Messenger):
    """Where the search for open plates ends: what is inside is in none of `plates`, save those that it opens again by name."""

    plates: tuple[Frame, ...] = ()

    entered: set[str] = field(init=False, repr=False, default_factory=set)


def open_plates() -> tuple[Frame, ...]:
    """The plates that are open here, outermost first."""
    found: list[Frame] = []
    for messenger in reversed(_STACK.get()):
        if isinstance(messenger, Global):
            break
        if messenger.frame is not None:
            found.append(messenger.frame)
    return tuple(reversed(found))


def reopened(name: str) -> Frame | None:
    """The plate `name` around a `Global` here, which is opened again."""
    scope = next((messenger for messenger in reversed(_STACK.get()) if isinstance(messenger, Global)), None)
    found = next((frame for frame in scope.plates if frame.name == name), None) if scope else None
    if scope and found:
        scope.entered.add(name)
    return found


def own_steps(site: Site) -> tuple[Step, ...]:
    """The steps of scans, outermost first, that `site` is in and the handler at work is not: it sees all of them."""
    outside = {id(messenger.frame) for messenger in _STACK.get() if messenger.frame is not None}
    return tuple(frame for frame in site.plates if isinstance(frame, Step) and id(frame) not in outside)


def leave(step: Step) -> None:
    """Tell the handlers here, the innermost first, that a scan is over; while one works, only those outside it are here."""
    stack = _STACK.get()
    for place in range(len(stack) - 1, -1, -1):
        token = _STACK.set(stack[:place])
        try:
            stack[place].leave(step)
        finally:
            _STACK.reset(token)


def current_roller() -> Callable[[Any], Any] | None:
    """Who runs the steps of a scan here: the innermost handler that says so, else Python (None)."""
    return next((m.roller for m in reversed(_STACK.get()) if m.roller is not None), None)


def current_generator() -> torch.Generator | None:
    """Where a draw made here comes from: the innermost handler that says so, else torch's own (None)."""
    return next((m.draws for m in reversed(_STACK.get()) if m.draws is not None), None)


def recall(name: str) -> Tensor | None:
    """The current value of the parameter `name` in the innermost store that has it."""
    values = (messenger.recall(name) for messenger in reversed(_STACK.get()))
    return next((value for value in values if value is not None), None)


class at_site:
    """While this is entered, `site` is the one that is worked on: captures and errors name it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __enter__(self) -> None:
        self._token = _SITE.set(self._site)

    def __exit__(self, *error: object) -> None:
        _SITE.reset(self._token)


def current_site() -> Site | None:
    """The site that is being worked on."""
    return _SITE.get()


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
    inner = _innermost(fn)
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
            raise _deferred(_innermost(fn), f"returned {kind}")
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
            "to the verb that runs it, after the verb's own arguments: fit(model, x, y), mcmc.run(x, y), svi.run(1000, x, y)."
        )
    return None


def _innermost(fn: Any) -> Any:
    while isinstance(fn, (partial, Messenger)):
        fn = fn.func if isinstance(fn, partial) else fn.fn
    return fn


def _deferred(inner: Any, what: str) -> HandlerError:
    return HandlerError(
        f"the program {getattr(inner, '__qualname__', repr(inner))} {what}: its body would run after the handlers around "
        "it are left. Write it as a plain function that returns its result."
    )
