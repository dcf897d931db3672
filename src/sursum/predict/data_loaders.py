"""Data loaders instead of data: pass their batches to a program, and join the predictions of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from sursum.common.batches import as_arguments
from sursum.errors import PredictionError
from sursum.predict.prediction import Prediction


def batches(loader: Iterable[Any]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The batches of a data loader as the arguments of a program, numbered."""
    for i, batch in enumerate(loader):
        yield i, as_arguments(batch)


@contextmanager
def generator_left_alone(wanted: bool) -> Iterator[None]:
    """Restore torch's global generator, from which data loaders draw seeds, afterwards."""
    before = torch.get_rng_state() if wanted else None
    try:
        yield
    finally:
        if before is not None:
            torch.set_rng_state(before)


def join(parts: Sequence[tuple[int | None, Prediction]]) -> Prediction:
    """Join predictions of batches, given with their numbers of rows.

    Raises:
        PredictionError: no batches, or a site that differs from batch to batch and has no rows.
    """
    if not parts:
        raise PredictionError("the data loader has no batches, so there is nothing to predict.")
    first = parts[0][1]
    ndims = first.batch_ndims
    sites = {}
    for name, value in first.items():
        if value.dim() > ndims and all(part[name].shape[ndims] == count for count, part in parts):
            sites[name] = torch.cat([part[name] for _, part in parts], ndims)
            continue
        for i, (count, part) in enumerate(parts):
            if part[name].shape != value.shape or not torch.equal(part[name], value):
                raise PredictionError(
                    f"site {name!r} differs between batch {i} of the data loader and the first one, and cannot be joined: "
                    f"the batch has {count} rows, but the site has shape {tuple(part[name].shape[ndims:])}. "
                    "Leave it out with Predictive(…, sites=…), or give all of the data at once."
                )
        sites[name] = value
    return Prediction(sites, ndims, first.drawn)
