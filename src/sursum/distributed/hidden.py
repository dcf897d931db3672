"""Programs that call a divided one from inside a function: their rows are not divided, which every rank would do in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from sursum.core.calling import innermost, layers
from sursum.distributed.group import is_distributed
from sursum.errors import ShardError

_WHOLE: ContextVar[Callable[..., Any] | None] = ContextVar("sursum_whole_program", default=None)
"""The program of a method that is at its first runs on several ranks, if its rows are not divided."""


@contextlib.contextmanager
def refuse_hidden(program: Callable[..., Any] | None) -> Iterator[None]:
    """While a method runs this program on several ranks: that `shard` is among its handlers, or that it calls none that is.

    Of None nothing is known, and nothing is refused.
    """
    divided = any(hasattr(one, "compile_density") for one in layers(program))
    token = _WHOLE.set(None if divided or not is_distributed() else program)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def check_called(plate: str) -> None:
    """A program that is divided by the rows of this plate is being called.

    Raises:
        ShardError: by one that is not.
    """
    program = _WHOLE.get()
    if program is not None:
        inner = innermost(program)
        name = getattr(inner, "__qualname__", type(inner).__name__)
        raise ShardError(
            f"the program {name} calls one that `shard` has marked, and is not marked itself: its rows would not be divided, "
            f"and each rank would have a posterior of its own. Mark the program that is sampled instead, "
            f"shard({name}, plate={plate!r})."
        )
