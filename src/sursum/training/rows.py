"""Batches that stand for all rows: the plates over the rows of a batch are subsamples of those over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sursum.common.batches import rows_of
from sursum.common.torch_private import tree_flatten, tree_unflatten
from sursum.common.user_frame import warn
from sursum.core.messages import Factor, Frame, Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.errors import CallError, DiagnosticWarning, GuideError


@dataclass(frozen=True)
class Rows:
    """The plates over the rows of a batch, and how many rows there are in all."""

    plates: frozenset[str]
    total: float

    def here(self, args: Sequence[Any]) -> AbstractContextManager[Any]:
        """While it is entered, sites in these plates count for all rows."""
        present = rows_of(args)
        if not self.plates or not present:
            return nullcontext()
        return Representing(plates=self.plates, factor=self.total / present)


@handler
class Representing(Messenger):
    """Multiplies the log density of the sites in some plates, as the plates do themselves where they subsample."""

    plates: frozenset[str] = required()
    factor: float = required()

    def handle(self, site: Site) -> Any:
        if isinstance(site, (Sample, Factor)) and any(frame.name in self.plates for frame in site.plates):
            site = site.but(scale=site.scale * self.factor)
        return perform(site)


def find_rows(run: Callable[[Sequence[Any]], Iterable[Site]], args: Sequence[Any], total: float | None) -> Rows:
    """Which plates are over the rows of a batch: those whose size is another where the batch has a row less.

    Args:
        run: runs the programs on a batch, and gives their sites.
        args: a batch.
        total: how many rows there are in all; None if that is not known.

    Raises:
        CallError: it is not known, and the program needs it.

    Warns:
        DiagnosticWarning: no plate is over the rows, so that each batch counts as all of the data.
    """
    sites = list(run(args))
    present = rows_of(args)
    sizes = _sizes(sites)
    if present is None:
        return Rows(frozenset(), total or 0)
    try:
        fewer = _sizes(run(_without_last(args, present))) if present > 1 else None
    except Exception:  # whatever it is: the program does not take such a batch
        fewer = None
    over = {name for name, size in sizes.items() if (size == present if fewer is None else size != fewer.get(name))}
    subsampled = any(frame.indices is not None for site in sites for frame in site.plates)
    if over and total is None:
        names = ", ".join(map(repr, sorted(over)))
        raise CallError(
            f"how many rows there are in all is not known of this iterable, and plate {names} is over those of a batch. Give a "
            "DataLoader, or write the plate of all rows: su.plate(name, number_of_rows, subsample_size=len(x))."
        )
    if not over and not subsampled and any(isinstance(site, Sample) and site.is_observed for site in sites):
        warn(
            "no plate of the program is over the rows of a batch, so each batch counts as if it were all of the data. Put "
            "what is observed for each row into a plate: with su.plate('rows', len(x)): …",
            DiagnosticWarning,
        )
    return Rows(frozenset(over), total or 0)


def check_global(sites: Iterable[Site], rows: Rows, guide: str) -> None:
    """Raise where an automatic guide would have parameters for the rows of a batch, which are others in the next.

    Raises:
        GuideError: a latent site is in a plate over the rows.
    """
    for site in sites:
        latent = isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample")
        if latent and any(frame.name in rows.plates for frame in site.plates):
            raise GuideError(
                f"latent site {site} is one for each row, and a batch does not say which rows it has, so {guide} has no "
                "parameters for them. Write a guide that computes them from the row (an encoder network), or subsample inside "
                "the program: su.plate(name, number_of_rows, subsample_size=…) with all data as arguments."
            )


def _sizes(sites: Iterable[Site]) -> Mapping[str, int]:
    frames: list[Frame] = [frame for site in sites for frame in site.plates]
    return {frame.name: frame.size for frame in frames if frame.indices is None and not frame.repeats}


def _without_last(args: Sequence[Any], present: int) -> tuple[Any, ...]:
    leaves, spec = tree_flatten(tuple(args))
    cut = [leaf[:-1] if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == present else leaf for leaf in leaves]
    return tuple(tree_unflatten(cut, spec))
