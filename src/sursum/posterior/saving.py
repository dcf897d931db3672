"""The file of a posterior, and what a posterior is made of that was stored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.draws import run_store
from sursum.draws.draws import Draws
from sursum.draws.header import describe, words
from sursum.io import npz
from sursum.io.lazy_draws import arrays_of

KIND = "sursum posterior"
VERSION = 1


def write(
    path: str | os.PathLike[str],
    draws: Draws,
    warmup: Draws,
    *,
    observed: Mapping[str, Tensor],
    groups: Mapping[str, Mapping[str, Tensor]],
    buffers: Mapping[str, Tensor],
    note: Mapping[str, Any],
) -> None:
    """Write draws, those of the warm-up, data and added groups to one file, with a note for what is not an array."""
    arrays = {**_groups("", draws), **_groups("warmup ", warmup), "observed": numpy_of(observed)}
    arrays |= {f"added {group}": arrays_of(values) for group, values in groups.items()}
    arrays |= {"buffers": numpy_of(buffers)} if buffers else {}
    # Draws in a store are read array by array.
    flat = {f"{group}/{name}": array for group, named in arrays.items() for name, array in named.items()}
    npz.write(path, KIND, VERSION, {**note, "groups": {group: list(named) for group, named in arrays.items()}}, flat)


def read(path: str | os.PathLike[str], sites: Iterable[str] | None) -> dict[str, Any]:
    """The fields of the posterior that `write`, or a run with a store, has written.

    Args:
        path: a file, or the folder of a store.
        sites: names of the sites to read; all of them if None.

    Raises:
        StorageError: no draw, or no such site, is in it.
    """
    if os.path.isdir(path):
        return _read_store(path, sites)
    note, flat = npz.read(path, KIND, VERSION)
    groups = {group: {name: flat[f"{group}/{name}"] for name in names} for group, names in note["groups"].items()}
    if sites is not None:
        chosen = run_store.chosen(path, list(groups["sites"]), sites)
        for group in ("sites", "warmup sites"):
            groups[group] = {name: groups[group][name] for name in chosen}
    found = _from_groups("", groups)
    return {
        **found,
        "warmup": Draws(**_from_groups("warmup ", groups)),
        "observed": _tensors(groups["observed"]),
        "warnings": words(note["warnings"]),
        "buffers": _tensors(groups.get("buffers", {})),
        "groups": {name[6:]: _tensors(arrays) for name, arrays in groups.items() if name.startswith("added ")},
        **describe(note, found["unconstrained"].shape),
    }


def _read_store(path: str | os.PathLike[str], sites: Iterable[str] | None) -> dict[str, Any]:
    stored = run_store.read(path, sites)
    phases = {
        phase: {"sites": stored.sites[phase], "stats": stored.stats[phase], "unconstrained": stored.unconstrained[phase]}
        for phase in run_store.PHASES
    }
    kept: dict[str, Any] = phases["warmup"]
    return {
        **phases["sample"],
        "warmup": Draws(**kept),
        "observed": _tensors(stored.observed),
        "warnings": stored.warnings,
        "states": stored.states,
        "groups": {**stored.groups, **{group: _tensors(arrays) for group, arrays in stored.data.items()}},
        **describe(stored.note, stored.unconstrained["sample"].shape),
    }


def numpy_of(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Tensors as arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _groups(prefix: str, draws: Draws) -> dict[str, dict[str, NDArray[Any]]]:
    return {
        f"{prefix}sites": arrays_of(draws.sites),
        f"{prefix}stats": dict(draws.stats),
        f"{prefix}unconstrained": {"q": draws.unconstrained},
    }


def _from_groups(prefix: str, groups: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    return {
        "sites": _tensors(groups[f"{prefix}sites"]),
        "stats": dict(groups[f"{prefix}stats"]),
        "unconstrained": groups[f"{prefix}unconstrained"]["q"],
    }
