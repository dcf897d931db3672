"""Random numbers by counters: those of (key, draw, stream, index) are the same whatever has been drawn before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOMENTUM, DECISION, TRIAL = range(3)
"""The streams of a draw: its momentum, the decisions on its way, momenta with which a step size is tried."""

WORD = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
INCREMENTS = 0x9E3779B9, 0xBB67AE85

Words = Any
"""Whole numbers of 32 bits: an int, or an array (uint64)."""


def philox(key: int, draw: int, stream: int, index: Words) -> tuple[Words, Words, Words, Words]:
    """Four words for each index: Philox4x32-10.

    References:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

    Example:
        >>> [f"{word:08x}" for word in philox(0, 0, 0, 0)]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    a, b, c, d = index, stream, draw & WORD, draw >> 32
    k, m = key & WORD, key >> 32
    for _ in range(10):
        x, y = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (y >> 32) ^ b ^ k, y & WORD, (x >> 32) ^ d ^ m, x & WORD
        k, m = (k + INCREMENTS[0]) & WORD, (m + INCREMENTS[1]) & WORD
    return a, b, c, d


def unit(high: Words, low: Words) -> Any:
    """Uniform numbers strictly between 0 and 1, of 52 bits."""
    return ((high << 32 | low) >> 12) * 2.0**-52 + 2.0**-53


def normals(key: int, draw: int, stream: int, first: int, n: int) -> NDArray[np.float64]:
    """n independent standard normals from the indices after `first`, two of each (Box and Muller)."""
    index = np.arange(first, first + (n + 1) // 2, dtype=np.uint64)
    a, b, c, d = philox(key, draw, stream, index)
    radius, angle = np.sqrt(-2.0 * np.log(unit(a, b))), 2.0 * np.pi * unit(c, d)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return np.ascontiguousarray(pairs.reshape(-1)[:n])


class Decisions:
    """The uniform numbers of one draw, in order."""

    def __init__(self, key: int, draw: int) -> None:
        self.key, self.draw, self.count = key, draw, 0

    def __call__(self) -> float:
        a, b, _, _ = philox(self.key, self.draw, DECISION, self.count)
        self.count += 1
        return float(unit(a, b))
