"""The layout of a posterior in a Zarr store: ArviZ's groups, and the unconstrained draws.

posterior, sample_stats, unconstrained      the table "sample"
warmup_posterior, …                         the table "warmup"
observed_data                               arrays that do not grow
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sursum.draws.arviz import DATA, dimension_names
from sursum.draws.chain_states import read_states
from sursum.draws.diagnostics import Evidence, Hints, diagnose
from sursum.draws.ess_rhat import Mixing, mixing_by_name
from sursum.draws.partial_run import common_part, cut_short
from sursum.errors import StorageError
from sursum.io.lazy_draws import ONE_PASS, StoredArray, StoredArrays, StoredSites, batches
from sursum.io.zarr_store import MOST_DRAWS, Column, DrawTable, ZarrStore

KIND = "sursum run"
VERSION = 1
PHASES = {"warmup": "warmup_", "sample": ""}
"""The two phases of a chain, and the prefix of the groups of each."""

Groups = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class StoredRun:
    """The contents of a run's store: for each phase sites, statistics and q, truncated to the common length, unread.

    Groups of draws are `StoredSites`, groups of data are arrays.
    """

    sites: Mapping[str, StoredSites]
    stats: Mapping[str, StoredArrays]
    unconstrained: Mapping[str, StoredArray]
    observed: Mapping[str, NDArray[Any]]
    groups: Mapping[str, StoredSites]
    data: Groups
    note: Mapping[str, Any]
    warnings: tuple[str, ...]
    states: tuple[bytes, ...]


def create(
    path: str | os.PathLike[str],
    *,
    chains: int,
    lengths: Mapping[str, int],
    sites: Mapping[str, Column],
    stats: Mapping[str, np.dtype[Any]],
    dim: int,
    observed: Mapping[str, NDArray[Any]],
    dims: Mapping[str, Sequence[str]],
    note: Mapping[str, Any],
) -> ZarrStore:
    """An empty store for a run of `lengths[phase]` draws; `sites` and `stats` (dtypes) describe a draw,
    and `dims` names dimensions.

    Raises:
        StorageError: something of that name is there already.
    """
    whole = dict(note) | {"chains": chains, "lengths": dict(lengths)}
    with ZarrStore.creating(path, KIND, VERSION, whole) as store:
        store.put("observed_data", observed, dims)
        for phase, prefix in PHASES.items():
            groups = {
                f"{prefix}posterior": sites,
                f"{prefix}sample_stats": {name: Column((), dtype) for name, dtype in stats.items()},
                f"{prefix}unconstrained": {"q": Column((dim,), np.dtype(np.float64), ("coordinate",))},
            }
            store.add(phase, DrawTable(chains, lengths[phase], groups))
    return ZarrStore(Path(path))


def append_groups(path: str | os.PathLike[str], groups: Groups, dims: Mapping[str, Sequence[str]]) -> None:
    """Write more groups to the store of a run, chunk by chunk; readers see each one when it is complete.

    Raises:
        StorageError: the store is not one of a run, or has such a group already.
    """
    store, _ = ZarrStore.open(path, KIND, VERSION)
    for group in groups:
        check_absent(store, group)
    for group, arrays in groups.items():
        if group in DATA:
            store.put(group, arrays, dimension_names({name: array.ndim for name, array in arrays.items()}, dims))
            continue
        chains, draws = next(iter(arrays.values())).shape[:2]
        looks = {name: Column(array.shape[2:], array.dtype) for name, array in arrays.items()}
        store.add(group, DrawTable(chains, draws, {group: name_dims(looks, dims)}))
        for chain in range(chains):
            for begin in range(0, draws, MOST_DRAWS):
                rows = slice(begin, begin + MOST_DRAWS)
                store.append(group, chain, {group: {name: array[chain, rows] for name, array in arrays.items()}})
        store.sync(group)


def check_absent(store: ZarrStore, group: str) -> None:
    """Raise StorageError where a group is there already."""
    if store.has(group):
        raise StorageError(
            f"{os.fspath(store.path)!r} already has a group {group!r}, and stored data are never overwritten. "
            "Leave `store` out to keep the result in memory."
        )


def name_dims(columns: Mapping[str, Column], dims: Mapping[str, Sequence[str]]) -> dict[str, Column]:
    """Columns with names for their dimensions, the leading ones named as in `dims`."""
    names = dimension_names({name: len(column.shape) for name, column in columns.items()}, dims)
    return {name: replace(column, dims=names[name]) for name, column in columns.items()}


def table_sites(store: ZarrStore, table: str, group: str, chains: Sequence[int], draws: int) -> StoredSites:
    """A group of draws that is read lazily."""
    arrays = {name: StoredArray(store, table, group, name, tuple(chains), draws) for name in store.groups(table)[group]}
    return StoredSites(arrays)


def _read_added(store: ZarrStore) -> tuple[dict[str, StoredSites], list[str]]:
    """The groups of draws that were added, and warnings about those that are incomplete."""
    found, said = {}, []
    for table in store.tables():
        if table in PHASES:
            continue
        counts, _ = store.sound(table)
        chains, asked = store.asked(table)
        for group in store.groups(table):
            if min(counts):
                found[group] = table_sites(store, table, group, range(chains), min(counts))
            if min(counts) < asked:
                said.append(
                    f"The group `{group}` is incomplete: it has {min(counts)} of {asked} draws of each chain. Repeat the "
                    "call with the same arguments and `store` to continue from there."
                )
    return found, said


def groups_of(phase: str, sites: Mapping[str, Any], stats: Mapping[str, Any], q: NDArray[np.float64]) -> Groups:
    """Draws as `ZarrStore.append` takes them."""
    prefix = PHASES[phase]
    return {f"{prefix}posterior": sites, f"{prefix}sample_stats": stats, f"{prefix}unconstrained": {"q": q}}


def read(path: str | os.PathLike[str], wanted: Iterable[str] | None = None) -> StoredRun:
    """What a run has written so far, finished or not; only the sites that are `wanted`, if any are named.

    Raises:
        MissingFileError: there is none.
        StorageError: this is not such a store, or it is damaged.
        StorageError: it has no draw yet, or no such site.
    """
    store, note = ZarrStore.open(path, KIND, VERSION)
    if not {"warmup", "sample"} <= set(store.tables()):
        raise StorageError(
            f"{os.fspath(path)!r} could not be read: it holds no draws. A store written by a run of sursum was expected."
        )
    sound = {phase: store.sound(phase) for phase in PHASES}
    counts = {phase: found for phase, (found, _) in sound.items()}
    part = common_part(counts["warmup"], counts["sample"])
    if not part.chains:
        raise StorageError(f"{os.fspath(path)!r} has no draws yet, but at least one was expected. Read it again later.")
    kept = note.get("kept")
    if isinstance(kept, int):
        part = replace(part, draws=min(part.draws, kept))
    sites, stats, q = {}, {}, {}
    names = chosen(path, store.groups("sample")["posterior"], wanted)
    for phase, prefix in PHASES.items():
        length = part.warmup if phase == "warmup" else part.draws

        def arrays(group: str, phase: str = phase, prefix: str = prefix, length: int = length) -> StoredSites:
            return table_sites(store, phase, f"{prefix}{group}", part.chains, length)

        sites[phase] = arrays("posterior").only(names)
        stats[phase] = StoredArrays(arrays("sample_stats").arrays)
        q[phase] = arrays("unconstrained").arrays["q"]
    coordinates = tuple(note["coordinates"])
    drawn = sites["sample"].arrays
    found: dict[str, Mixing] = {}
    for group in batches(drawn, [name for name in note["latents"] if name in drawn]):
        found |= mixing_by_name(group)
    # Sites that were not kept, or not requested, are diagnosed by their coordinates, as many at once as fit.
    others = [i for i, one in enumerate(coordinates) if not any(one == name or one.startswith(f"{name}[") for name in found)]
    at_once = max(1, ONE_PASS // max(1, 8 * len(part.chains) * part.draws))
    for begin in range(0, len(others), at_once):
        some = others[begin : begin + at_once]
        columns = np.concatenate([block[..., some] for block in q["sample"].blocks()], axis=1)
        found |= mixing_by_name({coordinates[i]: columns[..., k] for k, i in enumerate(some)})
    warnings = diagnose(Evidence(found, stats["sample"], cast(Any, q["sample"]), coordinates, Hints.read(note.get("hints"))))
    asked, whole = note["chains"], note["lengths"]["sample"] if kept is None else kept
    if (len(part.chains), part.draws) != (asked, whole):
        text = cut_short(part, asked, whole, note.get("happened", "has not finished"))
        reached = ", ".join(str(count) for count in counts["sample"])
        lost = " The last ones were lost, as in a power cut." if any(lost for _, lost in sound.values()) else ""
        warnings = (f"{text} Draws that each chain has stored: {reached}.{lost}", *warnings)
    groups, said = _read_added(store)
    data = {group: store.get(group) for group in sorted(DATA - {"observed_data"}) if store.has(group)}
    states = read_states(path, asked) if len(part.chains) == asked else ()
    return StoredRun(sites, stats, q, store.get("observed_data"), groups, data, note, (*warnings, *said), states)


def chosen(path: str | os.PathLike[str], stored: list[str], wanted: Iterable[str] | None) -> list[str]:
    """The sites to read of those that are `stored` at `path`; StorageError where one that is `wanted` is not."""
    if wanted is None:
        return stored
    names = list(wanted)
    for name in names:
        if name not in stored:
            raise StorageError(f"{os.fspath(path)!r} has no site {name!r}. It has: {', '.join(map(repr, stored))}.")
    return names
