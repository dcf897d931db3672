"""A posterior as ArviZ's `InferenceData`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

ARVIZ_NOTICE = r"\s*ArviZ is undergoing a major refactor"
"""What ArviZ 0.x says, as a FutureWarning, whenever it is imported: nothing that our users could act on."""


def inference_data(
    *,
    posterior: Arrays,
    stats: Arrays,
    warmup: Arrays,
    warmup_stats: Arrays,
    observed: Arrays,
    dims: Mapping[str, tuple[str, ...]],
) -> Any:
    """Groups of arrays, (chain, draw, *shape) except for the data, as an `arviz.InferenceData`.

    `dims` names the leading dimensions of sites; the others are called `site_dim_0`, … as ArviZ calls them.
    """
    arviz = _arviz()
    shapes = {name: array.shape[2:] for name, array in posterior.items()} | {
        name: array.shape for name, array in observed.items()
    }
    names = dimension_names({name: len(shape) for name, shape in shapes.items()}, dims)
    groups: dict[str, Any] = {"posterior": posterior, "sample_stats": stats}
    if all(array.shape[1] for array in warmup.values()):
        groups |= {"warmup_posterior": warmup, "warmup_sample_stats": warmup_stats}
    filled = {group: dict(arrays) for group, arrays in groups.items() if arrays}
    if observed:
        filled["observed_data"] = dict(observed)
    return arviz.from_dict(**filled, dims=names, save_warmup=True)


def dimension_names(counts: Mapping[str, int], dims: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """A name for each of the dimensions of each site, of which there are `counts`; `dims` names the leading ones."""
    taken = {*counts, "chain", "draw"}
    return {name: _dimensions(name, count, dims.get(name, ()), taken) for name, count in counts.items()}


def _dimensions(site: str, count: int, plates: Sequence[str], taken: set[str]) -> list[str]:
    """A name for each dimension. A plate that is called like a site gets another name: xarray allows no such pair."""
    named = [f"{plate}_plate" if plate in taken else plate for plate in plates[:count]]
    return [*named, *(f"{site}_dim_{i}" for i in range(len(named), count))]


def _arviz() -> Any:
    with nullcontext() if "arviz" in sys.modules else warnings.catch_warnings():
        if "arviz" not in sys.modules:
            warnings.filterwarnings("ignore", message=ARVIZ_NOTICE, category=FutureWarning)
        import arviz
    return arviz
