"""What a program gives at many draws, written to the store of a run as it is computed, in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from sursum.core.calling import valued
from sursum.draws.run_store import KIND, VERSION, check_absent, named, table_sites
from sursum.errors import StorageError
from sursum.io.files import interpreting
from sursum.io.lazy_draws import StoredArray, StoredSites
from sursum.io.zarr_store import EXPECTED, Column, Table, ZarrStore
from sursum.predict.vectorise import Run, Sliceable, agree, at_draws, pieces

HELD = 1 << 22
"""Bytes of results that wait to be written together."""

SYNC = 10.0
"""Seconds between two times that what is written is synced to the disk."""


@dataclass(eq=False)
class Stream:
    """A table of a run's store that is to hold what a program gives at all draws of each chain.

    Arguments:
        path: the store.
        table: its name; a group of a table of one group is called likewise.
        chains, draws: how many there are.
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
        if not self.begun or min(self._done()) == self.store.asked(self.table)[1]:
            check_absent(self.store, self.table)
        elif self.store.asked(self.table) != (self.chains, self.draws):
            there = " × ".join(map(str, self.store.asked(self.table)))
            raise StorageError(
                f"{os.fspath(self.path)!r} holds a part of a group {self.table!r} of {there} draws, and {self.chains} × "
                f"{self.draws} are to be written now. To go on from there give the draws with which it was begun."
            )

    def seed(self, seed: int | None, drawn: Callable[[], int]) -> int:
        """The seed: what was given, of a table that is there the one with which it was begun, else a new one.

        Raises:
            StorageError: the table was begun with another.
        """
        known = self.store.told(self.table).get("seed") if self.begun else None
        if known is None:
            return drawn() if seed is None else seed
        if seed not in (None, known):
            raise StorageError(
                f"{os.fspath(self.path)!r} holds a part of a group {self.table!r} that was begun with seed {known}, and it "
                f"is {seed} now. To go on from there give the same seed, or none."
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
    ) -> StoredSites:
        """Run the program at all draws that are not there yet, and give what is stored.

        Args:
            run, values, seed, chunk: as in `at_draws`, the draws of one chain after those of another.
            placed: the group for a site; None is the table's.

        Raises:
            StorageError: what is there was computed by another program, or from other arguments.
        """
        if self.begun:
            self._check_same(run, values, seed)
        done = self._done() if self.begun else [0] * self.chains
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
            for rows, piece in pieces(run, values, self.chains * self.draws, seed=seed, chunk=chunk, done=done):
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
        """All that the table holds."""
        found: dict[str, StoredArray] = {}
        for group in self.store.groups(self.table):
            found |= table_sites(self.store, self.table, group, range(self.chains), self.draws).arrays
        return StoredSites(found)

    def _done(self) -> list[int]:
        return self.store.sound(self.table)[0]

    def _begin(self, arrays: Mapping[str, np.ndarray], groups: Mapping[str, str], seed: Sequence[int] | None) -> None:
        """Make the table, if it is not there."""
        if self.begun:
            return
        columns = named({name: Column(array.shape[1:], array.dtype) for name, array in arrays.items()}, self.dims)
        by_group = {group: {n: columns[n] for n, g in groups.items() if g == group} for group in groups.values()}
        self.store.add(self.table, Table(self.chains, self.draws, by_group), {"seed": None if seed is None else seed[0]})
        self.begun = True

    def _check_same(self, run: Run, values: Mapping[str, Sliceable], seed: Sequence[int] | None) -> None:
        """That the first draw is what is there of it."""
        stored = {name: torch.from_numpy(array.block(0, 1, [0])[0]) for name, array in self.sites().arrays.items()}
        first = at_draws(run, {name: value[:1] for name, value in values.items()}, 1, seed=seed)
        if not agree(first, stored):
            raise StorageError(
                f"{os.fspath(self.path)!r} holds a part of a group {self.table!r}, and what the program gives at the "
                "first draw is something else now. To go on from there give the program, draws and arguments with which it was "
                "begun."
            )
