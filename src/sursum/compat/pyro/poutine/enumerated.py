"""`markov`, as a loop, a block or a decorator; and `enum`, which a density does itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import sursum as su
from sursum.errors import HandlerError


class markov:
    """A loop whose steps depend only on the last `history` ones: ``for t in markov(range(10)):``.

    Where discrete sites are summed out, see `sursum.markov`; elsewhere the loop is a plain one.
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
        made._within = su.markov(history=history)
        if fn is not None and callable(fn) and not isinstance(fn, Iterable):
            return made(fn)
        return made

    history: int
    keep: bool
    _steps: Iterable[Any] | None
    _within: su.markov

    def __iter__(self) -> Iterator[Any]:
        if self._steps is None:
            raise HandlerError("markov has nothing to go through: write markov(range(n)).")
        return iter(su.markov(self._steps, history=self.history))

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def step(*args: Any, **kwargs: Any) -> Any:
            with self._within:
                return fn(*args, **kwargs)

        return step

    def __enter__(self) -> markov:
        self._within.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._within.__exit__(*error)


def enum(*args: Any, **kwargs: Any) -> Any:
    """Enumerate discrete sites in parallel."""
    raise HandlerError(
        "poutine.enum is not here: densities and bounds enumerate discrete sites themselves. Leave it out, or write "
        "pyro.infer.TraceEnum_ELBO()."
    )
