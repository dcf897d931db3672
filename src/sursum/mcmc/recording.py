"""Move draws from a chain's spool to the store of the run, with the sites computed from them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sursum.draws import run_store
from sursum.draws.arviz import dimension_names
from sursum.draws.chain_states import write_state, writer_of
from sursum.draws.diagnostics import Hints
from sursum.draws.header import note_of
from sursum.io.file_lock import FileLock
from sursum.io.zarr_store import Column, ZarrStore
from sursum.mcmc.kernel_chain import KernelChain
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.thinning import Thinning
from sursum.mcmc.trace import STAT_DTYPES
from sursum.posterior.assemble import Subject

SYNC = 10.0
"""Seconds between syncs to disk, which take milliseconds for each changed file."""


@dataclass(frozen=True, eq=False)
class StoreRecorder:
    """The store of a running run, which has the lock `writer`. Draws that it has taken from a spool are on disk."""

    store: ZarrStore
    compiled: Any
    names: tuple[str, ...]
    thinning: Sequence[Thinning]
    writer: FileLock
    synced: list[float] = field(default_factory=lambda: [time.monotonic()], init=False, repr=False)

    @classmethod
    def begin(
        cls,
        path: str | os.PathLike[str],
        compiled: Any,
        keep: Keep,
        chains: int,
        warmup: int,
        draws: int,
        hints: Hints,
        thin: int,
        sampling: Mapping[str, Any],
    ) -> StoreRecorder:
        """Create the store.

        Raises:
            StorageError: something of that name is there already.
            SamplingError: `keep` names a site that is not there.
        """
        subject = Subject.of(compiled.density, compiled.engine)
        values = _arrays(compiled.expand(compiled.density.near(np.random.default_rng(0))[None]))
        names = keep.names(values)
        observed = {name: value.detach().cpu().numpy() for name, value in subject.observed.items()}
        ranks = {name: values[name].ndim - 1 for name in names} | {name: value.ndim for name, value in observed.items()}
        dims = dimension_names(ranks, subject.dims)
        store = run_store.create(
            path,
            chains=chains,
            lengths={"warmup": warmup, "sample": draws // thin},
            sites={name: Column(values[name].shape[1:], values[name].dtype, dims[name]) for name in names},
            stats=STAT_DTYPES,
            dim=compiled.dim,
            observed=observed,
            dims=dims,
            note=note_of(subject) | {"hints": hints.note(), "sampling": {**sampling, "thin": thin}},
        )
        return cls(store, compiled, tuple(names), [Thinning(thin) for _ in range(chains)], writer_of(path, new=True))

    def collect(self, k: int, chain: KernelChain, ended: bool) -> None:
        """Take the new draws of chain k, and write them: a block of them, or all once it has ended."""
        for block in map(self.thinning[k], chain.blocks(None if ended else 1)):
            if not len(block.unconstrained):
                continue
            values = _arrays(self.compiled.expand(block.unconstrained))
            sites = {name: values[name] for name in self.names}
            self.store.append(block.phase, k, run_store.groups_of(block.phase, sites, block.stats, block.unconstrained))
        if (state := chain.snapshot()) is not None:
            self.save(k, state)
        if time.monotonic() - self.synced[-1] > SYNC:
            self._sync()
        if ended and chain.spool is not None:
            chain.spool.remove()

    def save(self, k: int, state: NDArray[np.uint8]) -> None:
        """Write the state of chain k, whose draws until then have been written."""
        write_state(self.store.path, k, state.tobytes())

    def common_draws(self) -> NDArray[np.float64]:
        """The draws of q after the warm-up that every chain has stored, (chain, draw, n)."""
        count = min(self.store.counts("sample"))
        return self.store.read("sample", "unconstrained", "q", range(len(self.thinning)), count)

    def close(self, happened: str, kept: int | None = None, note: str = "") -> None:
        """Called when the run has ended: record how, how many draws of each chain count if not all, and a note."""
        self._sync()
        ended = {} if kept is None else {"kept": kept}
        self.store.note(happened=happened, **ended, **({"notes": [note]} if note else {}))

    def _sync(self) -> None:
        """Flush everything taken so far to disk: a power cut loses only later draws."""
        for phase in run_store.PHASES:
            self.store.sync(phase)
        self.synced[:] = [time.monotonic()]


def _arrays(values: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: (value.double() if value.is_floating_point() else value).numpy() for name, value in values.items()}
