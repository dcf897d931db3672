"""The layout of a posterior in a Zarr store: ArviZ's groups, and the unconstrained draws beside them.

posterior, sample_stats, unconstrained      the table "sample"
warmup_posterior, …                         the table "warmup"
observed_data                               arrays that do not grow
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.arviz_export import DATA, dimension_names
from sursum.convergence import mixing
from sursum.diagnostics import Evidence, diagnose
from sursum.errors import SamplingError, StorageError
from sursum.unfinished import common_part, cut_short
from sursum.zarr_store import MOST_DRAWS, Column, Table, ZarrStore

KIND = "sursum run"
VERSION = 1
PHASES = {"warmup": "warmup_", "sample": ""}
"""The two phases of a chain, and what the groups of each begin with."""

Groups = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Stored:
    """What a store holds of a run: for each phase sites, statistics and q, cut to what the chains have in common."""

    sites: Mapping[str, Mapping[str, NDArray[Any]]]
    stats: Mapping[str, Mapping[str, NDArray[Any]]]
    unconstrained: Mapping[str, NDArray[np.float64]]
    observed: Mapping[str, NDArray[Any]]
    groups: Groups
    note: Mapping[str, Any]
    warnings: tuple[str, ...]


def create(
    path: str | os.PathLike[str],
    *,
    chains: int,
    lengths: Mapping[str, int],
    sites: Mapping[str, Column],
    stats: Mapping[str, np.dtype[Any]],
    dim: int,
    observed: Mapping[str, NDArray[Any]],
    named: Mapping[str, Sequence[str]],
    note: Mapping[str, Any],
) -> ZarrStore:
    """An empty store for a run of `lengths[phase]` draws; `sites` and `stats` (dtypes) say what a draw looks like,
    and `named` how dimensions are called.

    Raises:
        SamplingError: something of that name is there already.
    """
    whole = dict(note) | {"chains": chains, "lengths": dict(lengths)}
    with ZarrStore.creating(path, KIND, VERSION, whole) as store:
        store.put("observed_data", observed, named)
        for phase, prefix in PHASES.items():
            groups = {
                f"{prefix}posterior": sites,
                f"{prefix}sample_stats": {name: Column((), dtype) for name, dtype in stats.items()},
                f"{prefix}unconstrained": {"q": Column((dim,), np.dtype(np.float64), ("coordinate",))},
            }
            store.add(phase, Table(chains, lengths[phase], groups))
    return ZarrStore(Path(path))


def append_groups(path: str | os.PathLike[str], groups: Groups, dims: Mapping[str, Sequence[str]]) -> None:
    """Write further groups into the store of a run, chunk by chunk; each is seen by readers when it is there.

    Raises:
        SamplingError: the store is none of a run, or has such a group already.
    """
    store, _ = ZarrStore.open(path, KIND, VERSION)
    for group in groups:
        if (store.path / group).exists():
            raise SamplingError(
                f"{os.fspath(path)!r} has a group {group!r} already, and what is stored is never written over. "
                "Leave `store` out to have it in memory."
            )
    for group, arrays in groups.items():
        ranks = {name: array.ndim - (0 if group in DATA else 2) for name, array in arrays.items()}
        named = dimension_names(ranks, dims)
        if group in DATA:
            store.put(group, arrays, named)
            continue
        chains, draws = next(iter(arrays.values())).shape[:2]
        columns = {name: Column(array.shape[2:], array.dtype, named[name]) for name, array in arrays.items()}
        store.add(group, Table(chains, draws, {group: columns}))
        for chain in range(chains):
            for begin in range(0, draws, MOST_DRAWS):
                rows = slice(begin, begin + MOST_DRAWS)
                store.append(group, chain, {group: {name: array[chain, rows] for name, array in arrays.items()}})


def _added(store: ZarrStore) -> Groups:
    """What `append_groups` has written."""
    found: dict[str, Mapping[str, NDArray[Any]]] = {}
    for group in store.tables():
        if group not in PHASES:
            counts = store.counts(group)
            every = range(len(counts))
            found[group] = {name: store.read(group, group, name, every, min(counts)) for name in store.groups(group)[group]}
    for group in DATA - {"observed_data"}:
        if arrays := store.get(group):
            found[group] = arrays
    return found


def groups_of(phase: str, sites: Mapping[str, Any], stats: Mapping[str, Any], q: NDArray[np.float64]) -> Groups:
    """Draws as `ZarrStore.append` takes them."""
    prefix = PHASES[phase]
    return {f"{prefix}posterior": sites, f"{prefix}sample_stats": stats, f"{prefix}unconstrained": {"q": q}}


def read(path: str | os.PathLike[str], wanted: Iterable[str] | None = None) -> Stored:
    """What a run has written until now, finished or not; of the sites only those `wanted`, if any are named.

    Raises:
        MissingFileError: there is none.
        StorageError: this is no such store, or it is damaged.
        SamplingError: it has no draw yet, or no such site.
    """
    store, note = ZarrStore.open(path, KIND, VERSION)
    if not {"warmup", "sample"} <= set(store.tables()):
        raise StorageError(
            f"{os.fspath(path)!r} could not be read: it holds no draws. A store that a run of sursum wrote was expected."
        )
    sound = {phase: store.sound(phase) for phase in PHASES}
    counts = {phase: found for phase, (found, _) in sound.items()}
    part = common_part(counts["warmup"], counts["sample"])
    if not part.chains:
        raise SamplingError(
            f"{os.fspath(path)!r} has no draws yet, and at least one was expected. Read it again when the run has gone on."
        )
    sites, stats, q = {}, {}, {}
    names = chosen(path, store.groups("sample")["posterior"], wanted)
    for phase, prefix in PHASES.items():
        length = part.warmup if phase == "warmup" else part.draws

        def column(group: str, name: str, phase: str = phase, prefix: str = prefix, length: int = length) -> NDArray[Any]:
            return store.read(phase, f"{prefix}{group}", name, part.chains, length)

        sites[phase] = {name: column("posterior", name) for name in names}
        stats[phase] = {name: column("sample_stats", name) for name in store.groups(phase)[f"{prefix}sample_stats"]}
        q[phase] = column("unconstrained", "q")
    coordinates = tuple(note["coordinates"])
    found = {name: mixing(sites["sample"][name]) for name in note["latents"] if name in sites["sample"]}
    # Sites that were not kept, or not asked for, are judged by their coordinates.
    for i, coordinate in enumerate(coordinates):
        if not any(coordinate == name or coordinate.startswith(f"{name}[") for name in found):
            found[coordinate] = mixing(q["sample"][..., i])
    warnings = diagnose(Evidence(found, stats["sample"], q["sample"], coordinates))
    asked, whole = note["chains"], note["lengths"]["sample"]
    if (len(part.chains), part.draws) != (asked, whole):
        text = cut_short(part, asked, whole, note.get("happened", "has not come to its end"))
        reached = ", ".join(str(count) for count in counts["sample"])
        lost = " Those that came last were lost, as in a power cut." if any(lost for _, lost in sound.values()) else ""
        warnings = (f"{text} Draws that each chain has stored: {reached}.{lost}", *warnings)
    return Stored(sites, stats, q, store.get("observed_data"), _added(store), note, warnings)


def chosen(path: str | os.PathLike[str], stored: list[str], wanted: Iterable[str] | None) -> list[str]:
    """The sites to read of those that are `stored` at `path`; SamplingError where one that is `wanted` is not."""
    if wanted is None:
        return stored
    names = list(wanted)
    for name in names:
        if name not in stored:
            raise SamplingError(
                f"{os.fspath(path)!r} holds no site {name!r}. It has: {', '.join(map(repr, stored))}. Name some of those."
            )
    return names
