"""Random numbers by counters: those of (key, draw, stream, index) are the same whatever has been drawn before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOMENTUM, DECISION, TRIAL = range(3)
"""The streams of a draw: its momentum, the decisions on its way, momenta with which a step size is tried."""

WORD = np.uint64(0xFFFFFFFF)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
INCREMENTS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def philox(key: int, draw: int, stream: int, index: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], ...]:
    """Four words of 32 bits for each index: Philox4x32-10.

    References:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

    Example:
        >>> [f"{int(word[0]):08x}" for word in philox(0, 0, 0, np.zeros(1, dtype=np.uint64))]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    shift = np.uint64(32)
    a = index & WORD
    b, c, d = (np.full_like(a, number & 0xFFFFFFFF) for number in (stream, draw, draw >> 32))
    k, l = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)  # noqa: E741
    for _ in range(10):
        x, y = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (y >> shift) ^ b ^ k, y & WORD, (x >> shift) ^ d ^ l, x & WORD
        k, l = (k + INCREMENTS[0]) & WORD, (l + INCREMENTS[1]) & WORD  # noqa: E741
    return a, b, c, d


def unit(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers strictly between 0 and 1, of 52 bits."""
    bits = (high << np.uint64(32) | low) >> np.uint64(12)
    return np.asarray(bits.astype(np.float64) * 2.0**-52 + 2.0**-53)


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
        a, b, _, _ = philox(self.key, self.draw, DECISION, np.array([self.count], dtype=np.uint64))
        self.count += 1
        return float(unit(a, b)[0])
