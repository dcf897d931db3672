"""The stack of handlers, `perform`, and `Messenger`, the base class of every handler.

A handler is one method, `handle(site)`. While it runs, only the handlers outside it are on the stack, so `perform(site)`
means "ask outwards": code before it runs on the way out, code after it on the way back, and not calling it stops the message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, Never, Self, cast, dataclass_transform, overload

from torch import Generator, Tensor
from typing_extensions import ParamSpec, TypeVar  # torch needs it as well, so it is there

from sursum.common.reprs import call_text
from sursum.core.calling import Wrapper, check_wrapped, run_program
from sursum.core.messages import Frame, Site, Step
from sursum.errors import HandlerError, OptionError

STACK: ContextVar[tuple[Messenger, ...]] = ContextVar("handlers", default=())
"""The active handlers, outermost first."""

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)

Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


def perform(site: Site) -> Any:
    """Ask the innermost handler what happens at `site`; with no handler left, the site runs."""
    stack = STACK.get()
    if not stack:
        return site.run()
    token = STACK.set(stack[:-1])
    try:
        return stack[-1].handle(site)
    finally:
        STACK.reset(token)


@dataclass_transform(field_specifiers=(field,))
def handler(cls: type[T]) -> type[T]:
    """Make a class of a handler's fields; handlers compare by identity."""
    made: Any = dataclass(eq=False, repr=False)(cls)
    kept = [item for item in dataclasses.fields(made) if not item.init and item.name not in ("origin", "noted")]
    made._at_first = tuple((item.name, make) for item in kept if (make := _maker(item)))
    return cast(type[T], made)


def _maker(item: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    """The function that makes the default of a field, if it has one."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory
    return None if item.default is dataclasses.MISSING else lambda: item.default


def required() -> Any:
    """The default of a field that must be given: `data: Mapping = required()`."""
    return _REQUIRED


class _Required:
    def __repr__(self) -> str:
        return "required"


_REQUIRED = _Required()


@handler
class Messenger(Wrapper, Generic[P, R]):
    """A handler: used as ``condition(model, data=d)``, as ``@condition(data=d)`` or as ``with condition(data=d):``.

    Each call and each ``with`` runs under a fresh copy, so that one handler object can be nested in itself, pickled, and
    shared between threads and tasks. Fields that hold the state of a run are declared ``field(init=False)``.

    Type checkers know a handler with a program by what the program takes and gives, ``condition[P, R]``: calling it takes and
    gives the same.

    Example, a handler in full:
        >>> import sursum as su, torch
        >>> from sursum.core.runtime import Messenger, handler, perform
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
    of_capture: ClassVar[bool] = False  # whether it belongs to a capture, and not to the program
    keeps_buffers: ClassVar[bool] = True  # whether what `buffer` gives is final, and not where one outside may start

    fn: Callable[P, R] | None = None

    origin: Self | None = field(init=False, repr=False, default=None)
    noted: set[str] = field(init=False, repr=False, default_factory=set)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if item.init and getattr(self, item.name) is _REQUIRED:
                verb = type(self).__name__
                raise OptionError(f"{verb} needs `{item.name}`: {verb}(model, {item.name}=…) or with {verb}({item.name}=…)")
        if self.fn is not None:
            check_wrapped(self.fn, type(self).__name__)

    def __repr__(self) -> str:
        return call_text(self)

    def handle(self, site: Site) -> Any:
        """What happens at `site`; `perform(site)` asks outwards."""
        return perform(site)

    def finish(self) -> None:
        """Called on the copy that ran, when its execution ends without an exception."""

    # What a handler tells those inside it, without a message.

    @property
    def frame(self) -> Frame | None:
        """The plate that this handler opens."""
        return None

    def rename(self, name: str) -> str:
        """What a plate called `name` inside this handler is called outside it."""
        return name

    @property
    def draws(self) -> Generator | None:
        """The generator of draws inside this handler."""
        return None

    def recall(self, name: str) -> Tensor | None:
        """The current value of the parameter `name`, if this handler keeps it."""
        return None

    @property
    def roller(self) -> Callable[[Any], Any] | None:
        """The function that runs scans inside this handler; None to run them step by step in Python."""
        return None

    def network(self, name: str, net: Any) -> Any:
        """What the program gets where it reads the network `name`; `net` is a copy that holds the values."""
        return net

    def buffer(self, name: str, own: Tensor, writes: bool) -> Tensor | None:
        """The buffer `name` of a network, if this handler keeps it: `own` is the network's; `writes` if it is written to."""
        return None

    def leave(self, step: Step) -> None:
        """Called when the last step of a scan inside this handler, `step`, has run."""

    def around_scan(self, loop: Any, run: Callable[[Any], Any]) -> Any:
        """Called instead of `run`, which runs `loop`, a scan inside this handler, and returns what it returns."""
        return run(loop)

    @property
    def nesting(self) -> int | None:
        """How many dimensions, from the right, belong to plates and batches; those left of them are values of discrete sites.

        None if there is no such limit.
        """
        return None

    def enumerates(self, site: Site) -> bool:
        """Whether this handler gives `site`, inside it, all its values."""
        return False

    def note(self, name: str) -> bool:
        """True the first time that this handler object, or a copy of it, reports something about `name`."""
        first = name not in self.noted
        self.noted.add(name)
        return first

    def fresh(self) -> Self:
        """The copy under which one execution runs: the same settings, and new state."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        for name, make in self._at_first:
            copy.__dict__[name] = make()
        copy.origin, copy.noted = self, self.noted
        return copy

    @overload
    def __call__(self: Messenger[..., Never], fn: Callable[Q, S], /) -> Decorated[Q, S]: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fn = self.fn
        if fn is None:
            if len(args) == 1 and callable(args[0]) and not kwargs:
                return self.around(args[0])
            raise OptionError(
                f"this {type(self).__name__} has no program yet: call it with one, as a decorator does, "
                f"or write {type(self).__name__}(model, …)"
            )
        with self:
            return run_program(fn, args, kwargs)

    def around(self, fn: Callable[..., Any]) -> Self:
        """This handler with `fn` as its program."""
        return dataclasses.replace(self, fn=fn)

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """As a decorator of a method: the program bound to the instance, like a plain function in a class."""
        if instance is None or not hasattr(self.fn, "__get__"):
            return self
        bound = self.around(self.fn.__get__(instance, owner))  # type: ignore[union-attr]
        bound.noted = self.noted
        return bound

    def __enter__(self) -> Self:
        running = self.fresh()
        STACK.set((*STACK.get(), running))
        return running

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        stack = STACK.get()
        if not stack or stack[-1].origin is not self:
            inner = type(stack[-1]).__name__ if stack else "nothing"
            # A handler that was entered after this one and never exited would stay active forever.
            mine = [i for i, messenger in enumerate(stack) if messenger.origin is self]
            if mine:
                STACK.set(stack[: mine[-1]])
            raise HandlerError(
                f"{type(self).__name__} exits while {inner} is the innermost handler. Handlers must exit in the "
                "reverse order in which they were entered: nest the `with` blocks."
            )
        STACK.set(stack[:-1])
        if kind is None:
            stack[-1].finish()


if TYPE_CHECKING:

    class Decorated(Messenger[P, R]):
        """A function with a handler around it, as type checkers see it: as a method it is bound, as any function is."""

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(
            self: Decorated[Concatenate[Any, Q], S], instance: object, owner: type | None = None
        ) -> Decorated[Q, S]: ...
        def __get__(self, instance: object, owner: type | None = None) -> Any: ...
