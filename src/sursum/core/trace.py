"""`Trace`: the record of one execution of a program, and its log density."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.common.tables import Table
from sursum.core.messages import Deterministic, Factor, Frame, Param, Sample, Site
from sursum.core.out_of_range import outside
from sursum.core.scope import at_site
from sursum.errors import DuplicateSiteError, PlateError


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Mapping[str, Site]):
    """The sites of one execution by name, in order, and what the program returned.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model():
        ...     return su.sample("z", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0)) + 1
        >>> tr = su.poutine.trace(model).get_trace()
        >>> list(tr), tr.nodes["z"]["type"], tr.result, round(float(tr.log_prob_sum()), 4)
        (['z'], 'sample', tensor(1.), -0.9189)
    """

    nodes: dict[str, Site] = field(default_factory=dict)
    result: Any = None
    _plates: dict[str, tuple[Frame, Site]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Site:
        return self.nodes[name]

    def __repr__(self) -> str:
        sites = [f"{name} ({'observed' if name in self.observed else site.type})" for name, site in self.nodes.items()]
        return f"<Trace: {', '.join(sites) or 'no sites'}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def add(self, site: Site) -> None:
        """Record `site`. A parameter may be read again; any other repeated name is an error."""
        known = self.nodes.get(site.name)
        if known is None:
            site = self._check_plates(site)
            self.nodes[site.name] = site
        elif not _same_reading(known, site):
            raise DuplicateSiteError(
                f"two sites are named {site.name!r}: a {known.type} at {known.where} and a {site.type} at {site.where}"
                f"{_owners(known, site)}. Give each site of an execution a different name."
            )

    def _check_plates(self, site: Site) -> Site:
        """`site`, of which a plate is called by the site's scope too where one of another scope has its name."""
        for place, frame in enumerate(site.plates):
            seen, other = self._plates.setdefault(frame.name, (frame, site))
            if (seen.size, seen.dim) != (frame.size, frame.dim):
                own, theirs = (one.name.rpartition("/")[0] for one in (site, other))
                if own and own != theirs and not frame.name.startswith(f"{own}/"):
                    renamed = replace(frame, name=f"{own}/{frame.name}")
                    return self._check_plates(site.but(plates=(*site.plates[:place], renamed, *site.plates[place + 1 :])))
                raise PlateError(
                    f"plate {frame.name!r} has size {seen.size} and dim {seen.dim} at site {other}, but size {frame.size} "
                    f"and dim {frame.dim} at site {site}. Give different plates different names, and a plate that is opened "
                    "at different depths an explicit dim."
                )
        return site

    # Views.

    @property
    def stochastic(self) -> dict[str, Sample]:
        """The latent sites."""
        return {n: s for n, s in self.nodes.items() if isinstance(s, Sample) and not s.is_observed}

    @property
    def observed(self) -> dict[str, Sample]:
        """The observed sites."""
        return {n: s for n, s in self.nodes.items() if isinstance(s, Sample) and s.is_observed}

    @property
    def params(self) -> dict[str, Param]:
        """The parameters that remained parameters."""
        return {n: s for n, s in self.nodes.items() if isinstance(s, Param)}

    @property
    def deterministic(self) -> dict[str, Deterministic]:
        """The deterministic sites."""
        return {n: s for n, s in self.nodes.items() if isinstance(s, Deterministic)}

    @property
    def stochastic_nodes(self) -> list[str]:
        """The latent sites' names."""
        return list(self.stochastic)

    @property
    def observation_nodes(self) -> list[str]:
        """The observed sites' names."""
        return list(self.observed)

    @property
    def param_nodes(self) -> list[str]:
        """The parameters' names."""
        return list(self.params)

    # Densities.

    def log_prob(self, keep: Callable[[Site], bool] = lambda site: True) -> dict[str, Tensor]:
        """The log density of every scored site that `keep` accepts, one element per batch element."""
        terms = {}
        for name, site in self.nodes.items():
            if isinstance(site, (Sample, Factor)) and keep(site):
                terms[name] = scored(site)
        return terms

    def log_prob_sum(self, keep: Callable[[Site], bool] = lambda site: True) -> Tensor:
        r"""The joint log density :math:`\sum_i scale_i \cdot mask_i \cdot \log p(x_i \mid \ldots)` of the kept sites."""
        total: Tensor | None = None
        terms = self.log_prob(keep)
        for name, term in terms.items():
            with at_site(self.nodes[name]):
                # A sum of one number is an operator more for each of many scalar sites; that of a truth value counts. A
                # term that is alone is summed, so that the total is not a tensor of the program's.
                plain = len(terms) > 1 and term.dim() == 0 and term.is_floating_point()
                one = term if plain else term.sum()
                total = one if total is None else total + one
        return torch.zeros(()) if total is None else total

    # Tables.

    def format_shapes(self) -> Table:
        """A table of the sites: type, shapes of distribution and value, plates, line of the program; HTML in a notebook."""
        rows = [("site", "type", "batch", "event", "value", "plates", "line")]
        for name, site in self.nodes.items():
            fn = site.fn if isinstance(site, Sample) and isinstance(site.fn, Distribution) else None
            kind = "observed" if isinstance(site, Sample) and site.is_observed else site.type
            rows.append(
                (
                    name,
                    kind,
                    _shape(fn.batch_shape) if fn else "",
                    _shape(fn.event_shape) if fn else "",
                    _shape(site.value.shape) if isinstance(site.value, Tensor) else type(site.value).__name__,
                    " ".join(frame.name for frame in site.plates),
                    site.where or "",
                )
            )
        return Table(rows)


def scored(site: Sample | Factor) -> Tensor:
    """The log density of a site.

    Raises:
        OutOfRangeError: its value is an index out of range.
    """
    with at_site(site):
        try:
            return site.log_prob()
        except (RuntimeError, IndexError) as error:
            instead = outside(error, site)
            if instead is None:
                raise
            raise instead from error


def _shape(shape: torch.Size) -> str:
    return "(" + ", ".join(map(str, shape)) + ")" if len(shape) else "()"


def _same_reading(known: Site, site: Site) -> bool:
    """Whether `site` is the same parameter read again, lifted or not, and so not a second site."""
    if isinstance(known, Param) and isinstance(site, Param):
        return known.owner is site.owner
    lifted = (getattr(known, "param", None), getattr(site, "param", None))
    return None not in lifted and known.value is site.value and lifted[0].owner is lifted[1].owner  # type: ignore[union-attr]


def _owners(known: Site, site: Site) -> str:
    sources = [one if isinstance(one, Param) else getattr(one, "param", None) for one in (known, site)]
    if all(isinstance(s, Param) and s.owner is not None for s in sources):
        return ", of two different networks"
    return ""
