"""`markov`, as a loop, a block or a decorator; and `enum`, which densities do by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, Self

import sursum as su
from sursum.errors import HandlerError


class markov:
    """A loop whose steps depend only on the last `history` ones: ``for t in markov(range(10)):``; see `sursum.markov`.

    As a block each `with` is one step more, and as a decorator each call of the function.

    Args:
        fn: what to go through, or the function of a step.
        history: how many steps back a step may depend on.
        keep: not here: it must be False.
        dim, name: have no use.
    """

    def __new__(
        cls, fn: Any = None, history: int = 1, keep: bool = False, dim: int | None = None, name: str | None = None
    ) -> Any:
        if keep:
            raise HandlerError("markov has no `keep` here: steps that depend on all before them need none of it.")
        made = super().__new__(cls)
        made.history = history
        if callable(fn) and not isinstance(fn, Iterable):
            return made(fn)
        made._inner = su.markov(fn, history=history)
        return made

    history: int
    _inner: Any

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inner)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        step = su.markov(history=self.history)

        @wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            with step:
                return fn(*args, **kwargs)

        return run

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)


def enum(*args: Any, **kwargs: Any) -> Any:
    """Not here: discrete sites are summed out by every density and bound."""
    raise HandlerError(
        "poutine.enum is not here: a discrete site is summed out by every density and bound; "
        "pyro.infer.infer_discrete draws it."
    )
