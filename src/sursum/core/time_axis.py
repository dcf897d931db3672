"""Record the steps of a scan, and stack the steps of a site into one site with a time dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.core.messages import Deterministic, Factor, Sample, Site, Step
from sursum.distributions.stacked import Stacked
from sursum.errors import DuplicateSiteError, ScanError


@dataclass
class Ledger:
    """One row for every step, by scan and name."""

    rows: dict[tuple[Any, str], dict[int, tuple[Step, Any]]] = field(default_factory=dict)

    def add(self, name: str, step: Step, row: Any) -> None:
        """Enter the row of `name` at `step`; a step that is run again replaces the first run."""
        mine = self.rows.setdefault((step.loop, name), {})
        known = mine.get(step.index)
        if known is not None and known[0] is step:
            raise DuplicateSiteError(
                f"two sites are named {name!r} in one step of a {step.name}. Give each site of a step a different name."
            )
        mine[step.index] = step, row

    def leave(self, step: Step) -> list[list[Any]]:
        """Remove and return the rows of all steps, by name, of the scan whose last step is `step`."""
        found = []
        for key in [key for key in self.rows if key[0] is step.loop]:
            mine, name = self.rows.pop(key), key[1]
            if len(mine) != (2 if step.rolled else step.size):
                raise ScanError(
                    f"site {name!r} is in {len(mine)} of the {step.size} steps of a {step.name}. Every step needs the same "
                    "sites: leave elements out with poutine.mask, not with `if`."
                )
            found.append([row for _, row in mine.values()])
        return found


class Kept(NamedTuple):
    """A site in one step, and its log density if that must be computed in the step."""

    site: Site
    term: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class StackedSample(Sample):
    """All steps of a `Sample`, with either their log density, `term`, or the steps themselves, `parts`."""

    term: Tensor | None = None
    parts: tuple[Any, ...] = ()

    def but(self, **changes: Any) -> Self:
        """This message with some fields changed, also in its parts."""
        shared = {name: change for name, change in changes.items() if name in ("scale", "mask")}
        return super().but(**changes, parts=tuple(part.but(**shared) for part in self.parts))

    def log_prob(self) -> Tensor:
        """The log density of every step, one element per batch element, scaled and masked."""
        return torch.stack([part.log_prob() for part in self.parts]) if self.term is None else self.term


@dataclass(frozen=True, kw_only=True, eq=False)
class StackedFactor(Factor):
    """All steps of a `Factor`."""

    term: Tensor | None = None
    parts: tuple[Any, ...] = ()

    def log_prob(self) -> Tensor:
        """The terms of every step, scaled and masked."""
        return torch.stack([part.log_prob() for part in self.parts]) if self.term is None else self.term


def keep(site: Site, step: Step) -> Kept:
    """The record of `site` at `step`."""
    return Kept(site, site.log_prob() if step.rolled and isinstance(site, (Sample, Factor)) else None)


def stack_steps(rows: Sequence[Kept], step: Step) -> Site:
    """One site with a leading time dimension, from its steps in a finished scan."""
    first, sites = rows[0].site, [row.site for row in rows]
    _check(sites, step)
    plates = tuple(frame for frame in first.plates if not (isinstance(frame, Step) and frame.loop is step.loop))
    value = step.join([torch.as_tensor(site.value) for site in sites])
    if isinstance(first, Deterministic):
        return first.but(value=value, plates=plates)
    terms = [row.term for row in rows if row.term is not None]
    term, parts = (step.join(terms), ()) if terms else (None, tuple(sites))
    if isinstance(first, Factor):
        return StackedFactor(
            name=first.name,
            value=value,
            plates=plates,
            where=first.where,
            scale=first.scale,
            mask=first.mask,
            term=term,
            parts=parts,
        )
    assert isinstance(first, Sample)
    fns = [site.fn for site in sites if isinstance(site, Sample)]
    return StackedSample(
        name=first.name,
        fn=Stacked(fns, step.size) if all(isinstance(fn, Distribution) for fn in fns) else first.fn,
        value=value,
        is_observed=first.is_observed,
        plates=plates,
        where=first.where,
        scale=first.scale,
        mask=first.mask,
        infer=first.infer,
        param=first.param,
        term=term,
        parts=parts,
    )


def _check(sites: Sequence[Site], step: Step) -> None:
    """Check that all steps of a site have the same type and shape."""
    first = sites[0]
    for index, site in enumerate(sites):
        for what, one, other in (
            ("is a", first.type, site.type),
            ("has the value's shape", _shape(first), _shape(site)),
            ("is observed:", first["is_observed"], site["is_observed"]),
        ):
            if one != other:
                raise ScanError(
                    f"site {site} {what} {one} in the first step of a {step.name}, and {other} in step {index}. All steps "
                    "must be the same; leave out missing observations with poutine.mask."
                )


def _shape(site: Site) -> tuple[int, ...] | str:
    return tuple(site.value.shape) if isinstance(site.value, Tensor) else type(site.value).__name__
