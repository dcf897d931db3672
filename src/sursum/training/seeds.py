"""The randomness of each step is derived from (seed, purpose, step), so that no generator state need be kept."""

from __future__ import annotations

import numpy as np

SET_UP, STEP, EVALUATE, DRAW, NOISE, INDICES, EPOCH = range(7)


def derive(seed: int, purpose: int, index: int) -> int:
    """A seed of 63 bits; those of different purposes or indices are independent.

    Example:
        >>> derive(0, STEP, 1) == derive(0, STEP, 1), derive(0, STEP, 1) == derive(0, STEP, 2)
        (True, False)
    """
    words = np.random.SeedSequence([seed, purpose, index]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
