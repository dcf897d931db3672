"""Programs as they run here: for their time the networks that they registered hold the values that handlers gave.

In Pyro a program calls `pyro.module("net", net)` and continues with `net` itself. So the values (lifted, trained, held at a
draw) are put into the network, and its own parameters back when the program ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from sursum.handlers import Messenger

Swapped = list[tuple[nn.Module, str, Any]]

_SWAPPED: ContextVar[Swapped | None] = ContextVar("swapped", default=None)


@contextmanager
def execution() -> Iterator[None]:
    """The time of one program: at its end the networks have their own parameters again."""
    swapped: Swapped = []
    token = _SWAPPED.set(swapped)
    try:
        yield
    finally:
        _SWAPPED.reset(token)
        for part, name, parameter in reversed(swapped):
            part._parameters[name] = parameter


def is_running() -> bool:
    """Whether a program runs here."""
    return _SWAPPED.get() is not None


def put_into(net: nn.Module, values: Mapping[int, Tensor]) -> bool:
    """Put values into `net`, by the id of the parameter that each replaces, until the program ends; False outside of any."""
    swapped = _SWAPPED.get()
    if swapped is None:
        return False
    for part in net.modules():
        for name, parameter in list(part._parameters.items()):
            value = values.get(id(parameter))
            if value is not None and value is not parameter:
                swapped.append((part, name, parameter))
                part._parameters[name] = value  # type: ignore[assignment]
    return True


def own_parameters(net: nn.Module) -> dict[str, nn.Parameter]:
    """The network's own parameters by path, also where values stand in for them."""
    own = {(id(part), name): parameter for part, name, parameter in reversed(_SWAPPED.get() or ())}
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, part in net.named_modules():
        for name, value in part._parameters.items():
            parameter = own.get((id(part), name), value)
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{prefix}.{name}" if prefix else name] = parameter
    return found


class Program(Messenger):
    """A program as sursum's methods call it: each call is an execution of its own, after which networks are as before."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        assert self.fn is not None
        with execution():
            return self.fn(*args, **kwargs)


def as_program(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, for sursum's methods."""
    return fn if isinstance(fn, Program) else Program(fn)
