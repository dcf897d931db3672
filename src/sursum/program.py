"""`Program`: a model and what it was called with, kept with what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


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
