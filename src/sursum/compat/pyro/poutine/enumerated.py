"""`markov`, as a loop, a block or a decorator; and `enum`, which needs sites to be summed out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from sursum.errors import HandlerError

ENUMERATION = "discrete sites are not summed out here yet: sum them out by hand, as with dist.MixtureSameFamily"


class markov:
    """A loop whose steps depend only on the last `history` ones: ``for t in markov(range(10)):``.

    Where nothing is enumerated, steps need no names of dimensions: the loop is a plain one.
    """

    def __new__(
        cls,
        fn: Any = None,
        history: int = 1,
        keep: bool = False,
        dim: int | None = None,
        name: str | None = None,
    ) -> Any:
        made = super().__new__(cls)
        made.history, made.keep, made._steps = history, keep, fn if isinstance(fn, Iterable) else None
        if fn is not None and callable(fn) and not isinstance(fn, Iterable):
            return made(fn)
        return made

    history: int
    keep: bool
    _steps: Iterable[Any] | None

    def __iter__(self) -> Iterator[Any]:
        if self._steps is None:
            raise HandlerError("markov has nothing to go through: write markov(range(n)).")
        return iter(self._steps)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def step(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return step

    def __enter__(self) -> markov:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def enum(*args: Any, **kwargs: Any) -> Any:
    """Enumerate discrete sites in parallel."""
    raise HandlerError(f"poutine.enum is not here: {ENUMERATION}.")
