"""Leave torch's modes aside where they change nothing: a distribution of doubles is made, and scored, as torch does by itself.

In double precision two modes of ours see every operator and every attribute of a tensor. A loop of Python makes and scores
hundreds of sites, and of doubles the modes would leave all as it is, at several times the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

from sursum.common.precision import leaves_doubles, without_modes
from sursum.distributions.rebuild import tensors

F = TypeVar("F", bound=type)


def outside_modes(family: F) -> F:
    """A family whose constructor and `expand`, a few operators of torch's, are run outside of the modes for doubles."""
    made: Any = family
    init: Callable[..., None] = made.__init__
    expand: Callable[..., Any] = made.expand

    @wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        with _outside((*args, *kwargs.values())):
            init(self, *args, **kwargs)

    @wraps(expand)
    def expanded(self: Any, batch_shape: Any, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ is construct:  # torch refuses any constructor but its own
            _instance = object.__new__(type(self))
        with _outside(tuple(tensors(self))):
            return expand(self, batch_shape, _instance)

    made.__init__, made.expand = construct, expanded
    return family


def _outside(items: tuple[Any, ...]) -> AbstractContextManager[None]:
    return without_modes() if leaves_doubles(items) else nullcontext()
