"""The names of a density's coordinates, written when they are asked for: a network has millions of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from math import prod
from typing import Any, overload

import numpy as np

_SHOWN = 20


class CoordinateNames(Sequence[str]):
    """A name for every coordinate of q: equal to the tuple of them, and as small as its shapes.

    Args:
        free_shapes: the unconstrained shapes of the latent sites, in order.

    Example:
        >>> names = CoordinateNames({"tau": (), "theta": (2,), "w": (1, 2)})
        >>> names
        ('tau', 'theta[0]', 'theta[1]', 'w[0, 0]', 'w[0, 1]')
        >>> names[-1], names[1:3], len(CoordinateNames({"w": (10_000, 10_000)}))
        ('w[0, 1]', ('theta[0]', 'theta[1]'), 100000000)
    """

    __slots__ = ("_ends", "_shapes")

    def __init__(self, free_shapes: Mapping[str, Sequence[int]]) -> None:
        self._shapes = tuple((name, tuple(shape)) for name, shape in free_shapes.items())
        self._ends = tuple(accumulate(prod(shape) for _, shape in self._shapes))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        numbers = range(len(self))[index]
        return self._name(numbers) if isinstance(numbers, int) else tuple(self._name(number) for number in numbers)

    def _name(self, number: int) -> str:
        site = bisect_right(self._ends, number)
        name, shape = self._shapes[site]
        if not shape:
            return name
        place = np.unravel_index(number - (self._ends[site - 1] if site else 0), shape)
        return f"{name}[{', '.join(str(int(k)) for k in place)}]"

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(_of_site(name, shape) for name, shape in self._shapes)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CoordinateNames) and self._shapes == other._shapes:
            return True
        if not isinstance(other, (CoordinateNames, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        if len(self) <= _SHOWN:
            return repr(tuple(self))
        return f"({self[0]!r}, {self[1]!r}, …, {self[-1]!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CoordinateNames, (dict(self._shapes),)


def _of_site(name: str, shape: tuple[int, ...]) -> Iterator[str]:
    """The name of each element; all but the last index are written once."""
    if not shape:
        yield name
        return
    ends = [f"{k}]" for k in range(shape[-1])]
    for outer in np.ndindex(*shape[:-1]):
        head = f"{name}[{''.join(f'{k}, ' for k in outer)}"
        for end in ends:
            yield head + end
