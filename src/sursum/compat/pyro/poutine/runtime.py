"""Operations of one's own, and what is around a place in a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar

from sursum.compat.pyro.plates import open_plates
from sursum.compat.pyro.poutine.util import NonlocalExit
from sursum.compat.pyro.running import is_running
from sursum.handlers import Frame, Site, perform


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation(Site):
    """A message of a type of one's own: a function, and what it is called with."""

    kind: str = ""
    fn: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    plates: tuple[Frame, ...] = ()
    infer: ClassVar[dict[str, Any]] = {}

    def __getitem__(self, key: str) -> Any:
        return self.kind if key == "type" else super().__getitem__(key)

    def run(self) -> Operation:
        if self.value is not None or self.fn is None:
            return self
        return self.but(value=self.fn(*self.args, **self.kwargs))


def effectful(fn: Callable[..., Any] | None = None, type: str | None = None) -> Any:
    """Make a function an operation that handlers see, as ``_pyro_<type>`` of a `Messenger`.

    Example:
        >>> import sursum.compat.pyro as pyro
        >>> @effectful(type="twice")
        ... def twice(x):
        ...     return 2 * x
        >>> class Thrice(pyro.poutine.Messenger):
        ...     def _pyro_twice(self, msg):
        ...         msg["value"] = 3 * msg["args"][0]
        >>> with Thrice():
        ...     twice(1)
        3
        >>> twice(1)
        2
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def operation(*args: Any, name: str | None = None, infer: Any = None, obs: Any = None, **kwargs: Any) -> Any:
            message = Operation(
                name=name or f"_{function.__name__}",
                kind=type or function.__name__,
                fn=function,
                args=args,
                kwargs=kwargs,
                value=obs,
            )
            return perform(message).value

        return operation

    return decorate if fn is None else decorate(fn)


def am_i_wrapped() -> bool:
    """Whether a program runs under a handler here."""
    return is_running()


def get_plates() -> tuple[Frame, ...]:
    """The plates that are open."""
    return open_plates()


__all__ = ["NonlocalExit", "Operation", "am_i_wrapped", "effectful", "get_plates"]
