"""nutpie's names of a draw's statistics, and the folder to which it writes draws that are not kept in memory.

nutpie writes a Zarr store as it samples: each array in files of 16 draws, which appear atomically, by a rename. A `Spool`
takes the complete files, in order, and removes them, so that only draws that have not been taken remain there.
`tests/mcmc/test_spool.py` checks nutpie's layout.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.spool_array import SpoolArray, forget

STATS = {
    "logp": "lp",
    "mean_tree_accept": "acceptance_rate",
    "step_size": "step_size",
    "depth": "tree_depth",
    "n_steps": "n_steps",
    "diverging": "diverging",
    "energy": "energy",
    "energy_error": "energy_error",
    "maxdepth_reached": "reached_max_treedepth",
    "tuning": "tuning",
}
"""nutpie's names of a draw's statistics, and ArviZ's."""

STAT_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(np.float64) for name in STATS.values()} | {
    "tree_depth": np.dtype(np.int64),
    "n_steps": np.dtype(np.int64),
    "diverging": np.dtype(np.bool_),
    "reached_max_treedepth": np.dtype(np.bool_),
    "tuning": np.dtype(np.bool_),
}
"""The dtype of each statistic, by ArviZ's names."""

PHASES = {"warmup": "warmup_", "sample": ""}
"""The two phases of a chain, and the prefix of nutpie's groups of each."""

MOST, MOST_BYTES = 512, 1 << 20
"""Maximum number of draws taken at once, and maximum size of their q: more would only need more memory."""


@dataclass(frozen=True)
class Block:
    """Consecutive draws of one phase: q (draw, n) and statistics (draw,)."""

    phase: str
    unconstrained: NDArray[np.float64]
    stats: Mapping[str, NDArray[Any]]


@dataclass(eq=False)
class Spool:
    """The folder of one chain."""

    path: Path
    _taken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0), init=False)
    _arrays: dict[str, dict[str, SpoolArray]] = field(default_factory=dict, init=False)

    def take(self, flush: Callable[[], None] | None, most: int | None = None) -> Iterator[Block]:
        """The new draws since the last call, in blocks; the files of a block are removed when the next one is requested.

        Args:
            flush: waits until nutpie has written all draws made before the call; None if the chain has ended, when
                the last file is complete even if it is not full.
            most: how many blocks to take; None takes all.
        """
        if not (self.path / "zarr.json").exists():
            return  # not started, or removed
        # The arrays of a draw are written independently of one another, and a file of zeros not at all: draws whose log
        # density has been written have all their arrays only after a flush.
        drawn = {phase: self._drawn(phase) for phase in PHASES}
        if flush is not None and drawn["warmup"] < self._length("warmup"):
            drawn["sample"] = 0  # in order, although nutpie may be behind with the end of the warm-up
        if flush is not None and any(drawn[phase] > self._taken[phase] for phase in PHASES):
            flush()
        count = 0
        for phase in PHASES:
            while (begin := self._taken[phase]) < drawn[phase]:
                if count == most:
                    return
                arrays = self._opened(phase)
                end = min(begin + max(1, min(MOST, MOST_BYTES // max(1, 8 * arrays["q"].shape[0]))), drawn[phase])
                values = {name: arrays[name].read(begin, end) for name in ("q", *STATS)}
                stats = {ours: to_signed(values[theirs]) for theirs, ours in STATS.items()}
                yield Block(phase, np.ascontiguousarray(values["q"], dtype=np.float64), stats)
                count += 1
                self._taken[phase] = end
                self._forget(phase, begin, end)
            if flush is None and self._taken[phase] and self.path.exists():
                # Arrays that nobody reads may have been written after their file was removed.
                self._forget(phase, 0, self._taken[phase])

    def waiting(self) -> int:
        """About how many draws wait to be taken."""
        found = 0
        for phase in PHASES:
            if arrays := self._opened(phase):
                with contextlib.suppress(FileNotFoundError):
                    found += arrays["logp"].size * len(os.listdir(arrays["logp"].folder / "c" / "0"))
        return found

    def remove(self) -> None:
        """Delete the folder and what is left in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _drawn(self, phase: str) -> int:
        """How many draws of a phase have a log density in a file."""
        arrays = self._opened(phase)
        if not arrays:
            return 0
        array, begin = arrays["logp"], self._taken[phase]
        end = begin // array.size
        while array.written(end):
            end += 1
        # A draw that was not made has the array's fill value, which is not a number.
        upto = min(end * array.size, array.length)
        return begin + int(np.isfinite(array.read(begin, upto)).sum()) if upto > begin else begin

    def _length(self, phase: str) -> int:
        """The requested number of draws of a phase."""
        arrays = self._opened(phase)
        return arrays["logp"].length if arrays else 1

    def _opened(self, phase: str) -> dict[str, SpoolArray]:
        """All arrays of a phase by nutpie's names; empty if nutpie has not created them yet."""
        if phase not in self._arrays:
            prefix = PHASES[phase]
            folders = {"q": self.path / f"{prefix}posterior" / "q"}
            folders |= {name: self.path / f"{prefix}sample_stats" / name for name in STATS}
            if not all((folder / "zarr.json").exists() for folder in folders.values()):
                return {}
            self._arrays[phase] = {name: SpoolArray.open(folder) for name, folder in folders.items()}
        return self._arrays[phase]

    def _forget(self, phase: str, begin: int, end: int) -> None:
        """Remove the files of draws `begin` to `end` of all arrays, including those that nobody reads."""
        size = self._opened(phase)["logp"].size
        for group in ("posterior", "sample_stats"):
            for folder in (self.path / f"{PHASES[phase]}{group}").iterdir():
                if folder.is_dir():
                    forget(folder, begin // size, end // size)


def to_signed(values: NDArray[Any]) -> NDArray[Any]:
    """Counts as signed integers, which can be subtracted without wrap-around."""
    return values.astype(np.int64) if values.dtype.kind == "u" else values
