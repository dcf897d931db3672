"""Affine indices: where in a buffer an iteration of a loop nest reads or writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sursum.compiler.show import show_affine


@dataclass(frozen=True, slots=True)
class Affine:
    """The flat position offset + Σₖ coefs[k]·iₖ, in elements, of iteration (i₀, i₁, …).

    Example:
        >>> Affine(2, (3, 1)).at((1, 1))
        6
    """

    offset: int
    coefs: tuple[int, ...]

    def __str__(self) -> str:
        return show_affine(self)

    @classmethod
    def over(cls, size: Sequence[int], stride: Sequence[int], offset: int = 0, ndim: int | None = None) -> Affine:
        """The index of a tensor's elements in a loop nest over its size, or over `ndim` dimensions to which it is broadcast. It
        does not vary with dimensions of one element, so that equal indices compare equal.

        Example:
            >>> Affine.over((3, 1), (5, 2), 7, ndim=3)
            Affine(offset=7, coefs=(0, 5, 0))
        """
        if not size:
            return cls(offset, (0,) * (ndim or 0))
        lead = (0,) * (0 if ndim is None else ndim - len(size))
        return cls(offset, (*lead, *(s if n != 1 else 0 for s, n in zip(stride, size, strict=True))))

    def at(self, index: Sequence[int]) -> int:
        """The position of one iteration."""
        return self.offset + sum(c * i for c, i in zip(self.coefs, index, strict=True))

    def through(self, index: Sequence[Affine], ndim: int) -> Affine:
        """This index after iₖ has been replaced by `index[k]`, each affine in `ndim` new loop variables."""
        offset, coefs = self.offset, [0] * ndim
        for c, inner in zip(self.coefs, index, strict=True):
            if c:
                offset += c * inner.offset
                for k, d in enumerate(inner.coefs):
                    coefs[k] += c * d
        return Affine(offset, tuple(coefs))

    def span(self, shape: Sequence[int]) -> tuple[int, int]:
        """The lowest and the highest position that a loop nest of `shape` reaches."""
        low = high = self.offset
        for c, n in zip(self.coefs, shape, strict=True):
            if c > 0:
                high += c * (n - 1)
            else:
                low += c * (n - 1)
        return low, high


def covers(shape: Sequence[int], store: Affine, count: int) -> bool:
    """Whether `store` reaches every position 0 … count − 1 exactly once over `shape`."""
    if math.prod(shape) != count:
        return False
    if count == 0:
        return True
    if store.offset:
        return False
    step = 1
    for c, n in sorted((c, n) for c, n in zip(store.coefs, shape, strict=True) if n > 1):
        if c != step:
            return False
        step *= n
    return True


def solve(access: Affine, domain: Sequence[int], store: Affine, shape: Sequence[int]) -> tuple[Affine, ...] | None:
    """The iterations of a writer that meet a reader: the inverse of `store`, applied to `access`.

    A writer ran over `shape` and put iteration j at `store`; a reader runs over `domain` and reads `access`. The answer
    gives each jₖ as affine in the reader's variables, or None where that is not so (or some position was not written).

    Example:
        >>> solve(Affine(4, (1,)), (4,), Affine(0, (4, 1)), (3, 4))  # row 1 of a 3 × 4 matrix
        (Affine(offset=1, coefs=(0,)), Affine(offset=0, coefs=(1,)))
        >>> solve(Affine(0, (1,)), (12,), Affine(0, (4, 1)), (3, 4)) is None  # all of it, flat
        True
    """
    if not shape and 0 not in domain:  # one number, at one place
        still = all(not c or n == 1 for c, n in zip(access.coefs, domain, strict=True))
        return () if still and access.offset == store.offset else None
    # Turned round where it runs backwards, so that every digit below is non-negative; turned back at the end.
    flipped = [c < 0 for c in access.coefs]
    base = access.offset + sum(c * (n - 1) for c, n in zip(access.coefs, domain, strict=True) if c < 0)
    base -= store.offset
    order = sorted((k for k, n in enumerate(shape) if n > 1), key=lambda k: -store.coefs[k])
    if any(store.coefs[k] <= 0 for k in order) or base < 0:
        return None

    def digits(amount: int) -> dict[int, int] | None:
        found = {}
        for k in order:
            found[k], amount = divmod(amount, store.coefs[k])
        return None if amount else found

    start = digits(base)
    if start is None:
        return None
    steps: list[dict[int, int]] = []
    for c, n in zip(access.coefs, domain, strict=True):
        step = digits(abs(c)) if n > 1 else {}
        if step is None:
            return None
        steps.append(step)
    answer = []
    for k, size in enumerate(shape):
        offset, coefs = start.get(k, 0), []
        top = offset
        for step, n, back in zip(steps, domain, flipped, strict=True):
            d = step.get(k, 0)
            top += d * (n - 1)
            if back:
                offset += d * (n - 1)
                d = -d
            coefs.append(d)
        if top >= size and size >= 1:
            return None
        answer.append(Affine(offset, tuple(coefs)))
    return tuple(answer)


def disjoint(a: Affine, a_shape: Sequence[int], b: Affine, b_shape: Sequence[int]) -> bool:
    """Whether two windows on one value have no element in common (False where that is not plain to see)."""
    (a_low, a_high), (b_low, b_high) = a.span(a_shape), b.span(b_shape)
    if a_high < b_low or b_high < a_low:
        return True
    steps = [abs(c) for c, n in zip((*a.coefs, *b.coefs), (*a_shape, *b_shape), strict=True) if n > 1 and c]
    # Columns of one matrix: all long steps are multiples of one length, within which the windows do not meet.
    for length in sorted(set(steps)):
        long = [s for s in steps if s >= length]
        if any(s % length for s in long):
            continue
        remainders = []
        for access, shape in ((a, a_shape), (b, b_shape)):
            short = [(c, n) for c, n in zip(access.coefs, shape, strict=True) if abs(c) < length]
            low = access.offset % length + sum(c * (n - 1) for c, n in short if c < 0)
            high = access.offset % length + sum(c * (n - 1) for c, n in short if c > 0)
            remainders.append((low, high))
        (p, q), (r, s) = remainders
        if min(p, r) >= 0 and max(q, s) < length and (q < r or s < p):
            return True
    return False
