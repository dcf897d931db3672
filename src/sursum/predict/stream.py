"""Write the results of a program at many draws to the store of a run as they are computed, in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from sursum.common.progress import Display
from sursum.core.calling import valued
from sursum.draws.run_store import KIND, VERSION, check_absent, name_dims, table_sites
from sursum.errors import StorageError
from sursum.io.files import interpreting
from sursum.io.lazy_draws import StoredArray, StoredSites
from sursum.io.zarr_store import EXPECTED, Column, DrawTable, ZarrStore
from sursum.predict.vectorise import SILENT, Run, Sliceable, agree, at_draws, pieces

HELD = 1 << 22
"""Bytes of results that are buffered before they are written together."""

SYNC = 10.0
"""Seconds between syncs to disk."""


@dataclass(eq=False)
class Stream:
    """A table of a run's store for the results of a program at all draws of each chain.

    Args:
        path: the store.
        table: its name, which is also that of its group if it has only one.
        chains, draws: their numbers.
    """

    path: str | os.PathLike[str]
    table: str
    chains: int
    draws: int

    store: ZarrStore = field(init=False)
    dims: Mapping[str, Sequence[str]] = field(init=False)
    observed: frozenset[str] = field(init=False)
    begun: bool = field(init=False)

    def __post_init__(self) -> None:
        self.store, note = ZarrStore.open(self.path, KIND, VERSION)
        with interpreting(self.path, EXPECTED):
            self.dims = {name: tuple(dims) for name, dims in note["dims"].items()}
        self.observed = frozenset(self.store.get("observed_data"))
        self.begun = self.table in self.store.tables()
        if not self.begun or min(self._find_done()) == self.store.asked(self.table)[1]:
            check_absent(self.store, self.table)
        elif self.store.asked(self.table) != (self.chains, self.draws):
            there = " × ".join(map(str, self.store.asked(self.table)))
            raise StorageError(
                f"{os.fspath(self.path)!r} has an incomplete group {self.table!r} of {there} draws, but {self.chains} × "
                f"{self.draws} are to be written now. To continue it, give the draws with which it was started."
            )

    def seed(self, seed: int | None, drawn: Callable[[], int]) -> int:
        """The given seed, otherwise that of the existing table, otherwise a new one.

        Raises:
            StorageError: the table was begun with another.
        """
        known = self.store.told(self.table).get("seed") if self.begun else None
        if known is None:
            return drawn() if seed is None else seed
        if seed not in (None, known):
            raise StorageError(
                f"{os.fspath(self.path)!r} has an incomplete group {self.table!r} that was started with seed {known}, but it "
                f"is {seed} now. To continue it, give the same seed, or none."
            )
        return int(known)

    def fill(
        self,
        run: Run,
        values: Mapping[str, Sliceable],
        *,
        placed: Callable[[str], str] | None = None,
        seed: Sequence[int] | None = None,
        chunk: int | None = None,
        display: Display = SILENT,
    ) -> StoredSites:
        """Run the program at all draws that are not stored yet, and return the stored results.

        Args:
            run, values, seed, chunk, display: as in `at_draws`, with the draws of all chains concatenated.
            placed: the group for a site; None is the table's.

        Raises:
            StorageError: what is there was computed by another program, or from other arguments.
        """
        if self.begun:
            self._check_same(run, values, seed)
        done = self._find_done() if self.begun else [0] * self.chains
        groups: dict[str, str] = {}
        held: dict[int, list[Mapping[str, np.ndarray]]] = {}
        size, last = 0, time.monotonic()

        def write() -> None:
            for chain, parts in held.items():
                values = {name: np.concatenate([part[name] for part in parts]) for name in groups}
                by_group = {group: {n: values[n] for n, g in groups.items() if g == group} for group in groups.values()}
                self.store.append(self.table, chain, by_group)
            held.clear()

        with valued():
            for rows, piece in pieces(
                run, values, self.chains * self.draws, seed=seed, chunk=chunk, done=done, display=display
            ):
                arrays = {name: value.detach().cpu().numpy() for name, value in piece.items()}
                if not groups:
                    groups = {name: self.table if placed is None else placed(name) for name in arrays}
                    self._begin(arrays, groups, seed)
                held.setdefault(rows.start // self.draws, []).append(arrays)
                size += sum(array.nbytes for array in arrays.values())
                if size >= HELD:
                    write()
                    size = 0
                if time.monotonic() - last > SYNC:
                    self.store.sync(self.table)
                    last = time.monotonic()
        write()
        self.store.sync(self.table)
        return self.sites()

    def sites(self) -> StoredSites:
        """All sites of the table."""
        found: dict[str, StoredArray] = {}
        for group in self.store.groups(self.table):
            found |= table_sites(self.store, self.table, group, range(self.chains), self.draws).arrays
        return StoredSites(found)

    def _find_done(self) -> list[int]:
        return self.store.sound(self.table)[0]

    def _begin(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, str], seed: Sequence[int] | None) -> None:
        """Create the table if it does not exist."""
        if self.begun:
            return
        columns = name_dims({name: Column(array.shape[1:], array.dtype) for name, array in arrays.items()}, self.dims)
        by_group = {group: {n: columns[n] for n, g in groups.items() if g == group} for group in groups.values()}
        self.store.add(self.table, DrawTable(self.chains, self.draws, by_group), {"seed": None if seed is None else seed[0]})
        self.begun = True

    def _check_same(self, run: Run, values: Mapping[str, Sliceable], seed: Sequence[int] | None) -> None:
        """Check that the first stored result is reproduced."""
        stored = {name: torch.from_numpy(array.block(0, 1, [0])[0]) for name, array in self.sites().arrays.items()}
        first = at_draws(run, {name: value[:1] for name, value in values.items()}, 1, seed=seed)
        if not agree(first, stored):
            raise StorageError(
                f"{os.fspath(self.path)!r} has an incomplete group {self.table!r}, but the result of the program at the "
                "first draw is different now. To continue it, give the program, draws and arguments with which it was started."
            )
