"""Groups that are added to a posterior: each under one of ArviZ's names, with draws of (chain, draw, *shape)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from sursum.common.patterns import suggestion
from sursum.draws.arviz import DATA, GROUPS
from sursum.errors import ExportError
from sursum.io.lazy_draws import StoredSites
from sursum.predict.prediction import Prediction

ADDABLE = sorted(GROUPS - {"posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats", "observed_data"})


def add_groups(groups: Mapping[str, Any], sites: Iterable[str], observed: Iterable[str]) -> dict[str, Mapping[str, Tensor]]:
    """The groups to add to a posterior of `sites` in which `observed` were observed.

    Raises:
        ExportError: a group that ArviZ does not know, or invalid draws.

    Example:
        >>> import torch
        >>> prior = Prediction({"mu": torch.zeros(5), "y": torch.zeros(5, 3)}, 1, ("mu", "y"))
        >>> found = add_groups({"prior": prior}, ["mu"], ["y"])
        >>> {group: {name: tuple(value.shape) for name, value in values.items()} for group, values in found.items()}
        {'prior': {'mu': (1, 5)}, 'prior_predictive': {'y': (1, 5, 3)}}
    """
    known, seen = set(sites), set(observed)
    found: dict[str, Mapping[str, Tensor]] = {}
    for group, given in groups.items():
        if group not in ADDABLE:
            raise ExportError(f"group {group!r} does not exist.{suggestion(group, ADDABLE)}")
        if not isinstance(given, Mapping):
            raise ExportError(
                f"the group {group!r} is a {type(given).__name__}. Give a mapping from names to draws, or a Prediction."
            )
        sites = given.sites if isinstance(given, Prediction) else given
        values: dict[str, Tensor] | StoredSites
        if isinstance(sites, StoredSites) and group not in DATA:
            values = sites.only(sites)  # they stay in their store
        else:
            values = {str(name): torch.as_tensor(value).detach().cpu() for name, value in given.items()}
        if group not in DATA and isinstance(values, dict):
            values = _by_chain(group, values, given.batch_ndims if isinstance(given, Prediction) else None)
        if isinstance(given, Prediction) and group == "prior":
            found["prior"] = _some(values, (name for name in values if name not in seen))
            if any(name in seen for name in values):
                found["prior_predictive"] = _some(values, (name for name in values if name in seen))
        elif isinstance(given, Prediction):
            # Sites that the posterior itself has are already stored.
            found[group] = _some(values, (name for name in values if name in given.drawn or name not in known))
        else:
            found[group] = values
    return found


def _some(values: Mapping[str, Tensor], names: Iterable[str]) -> Mapping[str, Tensor]:
    return values.only(names) if isinstance(values, StoredSites) else {name: values[name] for name in names}


def _by_chain(group: str, values: Mapping[str, Tensor], leading: int | None) -> dict[str, Tensor]:
    """Draws with a dimension for chains: draws from a prior, which have none, become one chain."""
    if leading is None:
        leading = 1 if group.startswith("prior") else 2
    for name, value in values.items():
        first = next(iter(values.values())).shape[:leading]
        if value.dim() < leading or value.shape[:leading] != first:
            raise ExportError(
                f"the draws of {name!r} in {group!r} have shape {tuple(value.shape)}, but {leading} leading dimensions that "
                f"count draws were expected, the same for all sites ({tuple(first)}). Give (chain, draw, …), or (draw, …)."
            )
    return {name: value.unsqueeze(0) if leading == 1 else value for name, value in values.items()}
