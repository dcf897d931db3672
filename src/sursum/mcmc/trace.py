"""What a chain has drawn: draws with their statistics, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIELDS = {
    "lp": "value",
    "acceptance_rate": "accepted",
    "step_size": "step_size",
    "tree_depth": "depth",
    "n_steps": "steps",
    "diverging": "diverging",
    "energy": "energy",
    "energy_error": "energy_error",
    "reached_max_treedepth": "full",
    "tuning": "tuning",
}
"""ArviZ's names of a draw's statistics, and the kernels'."""

STAT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(np.float64) for name in FIELDS} | {
    "tree_depth": np.dtype(np.int64),
    "n_steps": np.dtype(np.int64),
    "diverging": np.dtype(np.bool_),
    "reached_max_treedepth": np.dtype(np.bool_),
    "tuning": np.dtype(np.bool_),
}
"""The dtype of each statistic, by ArviZ's names."""

MOST, MOST_BYTES = 1024, 1 << 20
"""Maximum number of draws of a block, and maximum size of their q: more would only need more memory."""


@dataclass
class Progress:
    """The progress of a chain. Divergences are those after the warm-up."""

    draws: int = 0
    divergences: int = 0
    steps: int = 0
    step_size: float = 0.0
    warming: bool = True


@dataclass(frozen=True)
class ChainTrace:
    """The draws of a chain, warm-up first: q (draw, n), statistics (draw,), and the number of warm-up draws."""

    unconstrained: Array
    stats: Mapping[str, NDArray[Any]]
    num_warmup: int


@dataclass(frozen=True)
class Block:
    """Consecutive draws of one phase: q (draw, n) and statistics (draw,)."""

    phase: str
    unconstrained: Array
    stats: Mapping[str, NDArray[Any]]


def statistics(records: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """The statistics of draws, by ArviZ's names, from what the kernels say of them."""
    return {name: records[FIELDS[name]].astype(dtype) for name, dtype in STAT_DTYPES.items()}
