"""Convert a posterior to ArviZ: `InferenceData` for ArviZ 0.x, an `xarray.DataTree` for 1.x, with the same groups.

The groups are xarray datasets that are built here, so that nothing depends on how either version builds them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.patterns import suggestion
from sursum.errors import ExportError

Arrays = Mapping[str, NDArray[Any]]

ARVIZ_NOTICE = r"\s*ArviZ is undergoing a major refactor"
"""The FutureWarning of ArviZ 0.x on every import: nothing that our users could act on."""

DATA = frozenset({"observed_data", "constant_data", "predictions_constant_data"})
"""Groups of arrays that are not draws."""

OF_OTHER_DATA = frozenset({"predictions", "predictions_constant_data"})
"""Groups whose plates are of other data than those of the fit."""

GROUPS = DATA | {
    *("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats", "log_likelihood", "log_prior"),
    *("prior", "prior_predictive", "sample_stats_prior", "posterior_predictive", "predictions"),
}
"""The groups that both versions of ArviZ know."""


def inference_data(
    groups: Mapping[str, Arrays],
    *,
    plates: Mapping[str, Sequence[str]],
    labels: Mapping[str, NDArray[Any]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Sequence[Any]],
) -> Any:
    """Groups of arrays, (chain, draw, *shape) except for data, in the container of the ArviZ that is installed.

    Args:
        groups: by ArviZ's names; empty ones are left out.
        plates: the program's own names for the leading dimensions of sites.
        labels: of the elements of plates, where `coords` has none.
        dims: names that take precedence; all other dimensions are named `site_dim_0`, … as in ArviZ.
        coords: labels for the elements along a dimension.

    Raises:
        MissingPackageError: ArviZ or xarray is not installed.
        ExportError: names or labels for something that does not exist, or the wrong number of them.
    """
    xarray = require("xarray", "`to_arviz`")
    arviz = _arviz()
    ranks: dict[str, int] = {}
    for group, arrays in groups.items():
        for name, array in arrays.items():
            ranks.setdefault(name, array.ndim - (0 if group in DATA else 2))
    _check_dims(dims, groups)
    dims = {**plates, **dims}
    names = dimension_names(ranks, dims)
    lengths: dict[str, int] = {}
    datasets = {}
    for group, arrays in groups.items():
        if not arrays:
            continue
        leading = () if group in DATA else ("chain", "draw")
        variables = {}
        for name, array in arrays.items():
            rank = array.ndim - len(leading)
            # One name may have arrays of different shapes in different groups: the likelihood of a vector is one number.
            named = names[name] if rank == len(names[name]) else dimension_names({name: rank}, dims)[name]
            lengths |= zip(named, array.shape[len(leading) :], strict=True)
            variables[name] = ((*leading, *named), array)
        datasets[group] = xarray.Dataset(variables, attrs={"inference_library": "sursum"})
    _check(coords, lengths)
    own = {_dimension(plate, {*ranks, "chain", "draw"}): values for plate, values in labels.items()}
    for group, dataset in datasets.items():
        found = {
            str(name): _labels(coords.get(str(name)), {} if group in OF_OTHER_DATA else own, str(name), n)
            for name, n in dataset.sizes.items()
        }
        datasets[group] = dataset.assign_coords(found)
    if int(arviz.__version__.split(".")[0]) >= 1:
        return xarray.DataTree.from_dict({f"/{group}": dataset for group, dataset in datasets.items()})
    return arviz.InferenceData(**datasets)


def dimension_names(counts: Mapping[str, int], dims: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """A name for each dimension of each site, given the numbers of dimensions, `counts`; `dims` names the leading ones."""
    taken = {*counts, "chain", "draw"}
    return {name: _dimensions(name, count, dims.get(name, ()), taken) for name, count in counts.items()}


def _dimensions(site: str, count: int, plates: Sequence[str], taken: set[str]) -> list[str]:
    """A name for each dimension."""
    named = [_dimension(plate, taken) for plate in plates[:count]]
    return [*named, *(f"{site}_dim_{i}" for i in range(len(named), count))]


def _dimension(plate: str, taken: Collection[str]) -> str:
    """A plate's name as a dimension. One with the name of a site is renamed: xarray does not allow the same name for both."""
    return f"{plate}_plate" if plate in taken else plate


def _labels(given: Sequence[Any] | None, own: Mapping[str, NDArray[Any]], name: str, length: int) -> Any:
    """What labels the elements along a dimension: what was given, its own labels if there are as many, or their numbers."""
    if given is not None:
        return list(given)
    return own[name] if name in own and len(own[name]) == length else np.arange(length)


def _check_dims(dims: Mapping[str, Sequence[str]], groups: Mapping[str, Arrays]) -> None:
    ranks: dict[str, int] = {}
    for group, arrays in groups.items():
        for name, array in arrays.items():
            ranks[name] = max(ranks.get(name, 0), array.ndim - (0 if group in DATA else 2))
    for site, names in dims.items():
        if site not in ranks:
            raise ExportError(f"`dims` names dimensions of {site!r}, but that site does not exist.{suggestion(site, ranks)}")
        if isinstance(names, str) or len(names) > ranks[site]:
            raise ExportError(
                f"`dims` has {names!r} for {site!r}, which has {ranks[site]} dimensions besides chain and draw. Give a list of "
                "one name for each of them, or of the leading ones."
            )


def _check(coords: Mapping[str, Sequence[Any]], lengths: Mapping[str, int]) -> None:
    for name, labels in coords.items():
        if name not in lengths:
            raise ExportError(
                f"`coords` has labels for {name!r}, and no site has a dimension of that name.{suggestion(name, lengths)} "
                "Dimensions are named after the plates of the program; `dims` names others."
            )
        if len(labels) != lengths[name]:
            raise ExportError(
                f"`coords` has {len(labels)} labels for {name!r}, but that dimension has {lengths[name]} elements. "
                "Give one label for each."
            )


def _arviz() -> Any:
    with nullcontext() if "arviz" in sys.modules else warnings.catch_warnings():
        if "arviz" not in sys.modules:
            warnings.filterwarnings("ignore", message=ARVIZ_NOTICE, category=FutureWarning)
        return require("arviz", "`to_arviz`")
