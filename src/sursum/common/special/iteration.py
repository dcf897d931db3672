"""Iterations of vectors, whose elements leave as they converge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sursum.common.special.special_operator import Array

#: From the number of the step, from 1 on, and the state to the next state, and where it is the last one.
Advance = Callable[[int, tuple[Array, ...]], tuple[tuple[Array, ...], NDArray[np.bool_]]]

_MOST_TERMS = 100_000
#: Elements are sorted out only so often.
_EVERY = 8


def iterate(advance: Advance, *state: Array) -> tuple[Array, ...]:
    """The state of each element when it converged, is NaN, or after a hundred thousand steps.

    Example:
        >>> def halve(n, state):
        ...     (x,) = state
        ...     return (x / 2,), x / 2 < 1
        >>> float(iterate(halve, np.array([1024.0]))[0][0]) < 1
        True
    """
    found = tuple(np.empty_like(part) for part in state)
    places, done = np.arange(len(state[0])), np.zeros(len(state[0]), dtype=bool)
    for n in range(1, _MOST_TERMS):
        state, last = advance(n, state)
        done |= last | np.isnan(state[-1])
        if n % _EVERY == 0 and done.any():
            for whole, part in zip(found, state, strict=True):
                whole[places[done]] = part[done]
            state, places, done = tuple(part[~done] for part in state), places[~done], done[~done]
        if not len(places):
            return found
    for whole, part in zip(found, state, strict=True):
        whole[places] = part
    return found
