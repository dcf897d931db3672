"""Keep every k-th draw of a chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.trace import Block

SUMMED, ANY = ("n_steps",), ("diverging", "reached_max_treedepth")
"""Statistics of a draw that is kept which are those of all k draws together: nothing that happened is left out."""


@dataclass(eq=False)
class Thinning:
    """Takes the draws of one chain block by block, and keeps the last of every `every` after the warm-up.

    Example:
        >>> from sursum.mcmc.trace import Block
        >>> thinning = Thinning(3)
        >>> blocks = [Block("sample", np.arange(n, m)[:, None], {"n_steps": np.ones(m - n)}) for n, m in ((0, 4), (4, 10))]
        >>> [(kept.unconstrained[:, 0].tolist(), kept.stats["n_steps"].tolist()) for kept in map(thinning, blocks)]
        [([2], [3.0]), ([5, 8], [3.0, 3.0])]
    """

    every: int
    _rest: Block | None = field(default=None, init=False)

    def __call__(self, block: Block) -> Block:
        """What is kept of the next draws; those after the last one that is kept wait for the next call."""
        if self.every == 1 or block.phase != "sample":
            return block
        if self._rest is not None:
            before = self._rest
            block = Block(
                block.phase,
                np.concatenate([before.unconstrained, block.unconstrained]),
                {name: np.concatenate([before.stats[name], values]) for name, values in block.stats.items()},
            )
        count = len(block.unconstrained) // self.every
        used = count * self.every
        self._rest = Block(
            block.phase, block.unconstrained[used:].copy(), {name: values[used:].copy() for name, values in block.stats.items()}
        )
        stats: dict[str, NDArray[Any]] = {}
        for name, values in block.stats.items():
            grouped = values[:used].reshape(count, self.every)
            if name in SUMMED:
                stats[name] = grouped.sum(axis=1)
            else:
                stats[name] = np.asarray(grouped.any(axis=1)) if name in ANY else grouped[:, -1]
        return Block(block.phase, np.ascontiguousarray(block.unconstrained[self.every - 1 : used : self.every]), stats)
