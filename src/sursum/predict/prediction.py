"""`Prediction`: draws of what a program predicts, and their statistics."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from sursum.common.other_libraries import refuse_name
from sursum.common.shown import abbreviate
from sursum.common.site_names import chosen_sites, no_site
from sursum.draws.summary import Summary, summarise
from sursum.errors import PredictionError
from sursum.io.lazy_draws import arrays_of, shape_of

MOST_SHOWN = 4_000_000
"""Numbers up to which a notebook shows a summary."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Mapping[str, Tensor]):
    """Draws by site name, each of shape (chain, draw, *shape of the site) or (draw, *shape of the site).

    Args:
        sites: the draws; floating ones are float64.
        batch_ndims: how many leading dimensions count draws: 2 for (chain, draw), 1 for (draw,).
        drawn: names of the sites that were drawn; the others are deterministic, or observed.

    Example:
        >>> import torch
        >>> prediction = Prediction({"y": torch.arange(5.0).reshape(5, 1)}, 1, ("y",))
        >>> prediction["y"].shape, prediction.mean(), prediction.quantile(0.25)
        (torch.Size([5, 1]), tensor([2.]), tensor([1.]))
    """

    sites: Mapping[str, Tensor]
    batch_ndims: int
    drawn: tuple[str, ...]

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.sites[name]
        except (KeyError, TypeError):
            raise no_site(name, self.sites, "this prediction") from None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """For an attribute that does not exist, say what to write instead."""
            sites = self.__dict__.get("sites", {})
            refuse_name(self, name, {site: f"sites are read by name, `prediction[{site!r}]`" for site in sites})

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    def __repr__(self) -> str:
        sites = ", ".join(f"{name} {shape_of(self.sites, name)[self.batch_ndims :]}" for name in self.sites)
        return f"<Prediction: {' × '.join(map(str, self._draws_shape()))} draws of {sites}>"

    def _repr_html_(self) -> str:
        head = f"<p>{html.escape(repr(self))}</p>"
        small = sum(prod(shape_of(self.sites, name)) for name in self.drawn if name in self.sites) <= MOST_SHOWN
        return head + self.summary()._repr_html_() if small and self.drawn else head

    def _draws_shape(self) -> torch.Size:
        return next((torch.Size(shape_of(self.sites, name)[: self.batch_ndims]) for name in self.sites), torch.Size())

    def mean(self, site: str | None = None) -> Tensor:
        """The mean over all draws, with the shape of the site; `site` may be left out if only one was drawn."""
        return self._flat(site).mean(0)

    def sd(self, site: str | None = None) -> Tensor:
        """The standard deviation over all draws, with the shape of the site."""
        return self._flat(site).std(0)

    def quantile(self, q: float | Sequence[float] | Tensor, site: str | None = None) -> Tensor:
        """Quantiles over all draws: with the shape of the site for one q in [0, 1], (len(q), *shape) for several."""
        flat = self._flat(site)
        try:
            levels = torch.as_tensor(q, dtype=flat.dtype, device=flat.device)
        except (TypeError, ValueError, RuntimeError):
            raise PredictionError(f"quantile: q is {abbreviate(q)}, but must be one or several numbers from 0 to 1.") from None
        if levels.dim() > 1 or not bool(((levels >= 0) & (levels <= 1)).all()):
            raise PredictionError(f"quantile: q is {q}, but must be one or several numbers from 0 to 1.")
        # torch.quantile rejects more than 2²⁴ elements.
        ordered = flat.sort(0).values
        place = levels.double() * (len(ordered) - 1)
        low = place.floor().long()
        high = (low + 1).clamp(max=len(ordered) - 1)
        weight = (place - low).to(flat.dtype).reshape(levels.shape + (1,) * (flat.dim() - 1))
        return ordered[low] + weight * (ordered[high] - ordered[low])

    def interval(self, mass: float = 0.9, site: str | None = None) -> tuple[Tensor, Tensor]:
        """The central interval with a fraction `mass` of the draws: lower and upper end, each with the shape of the site."""
        if not 0.0 < mass < 1.0:
            raise PredictionError(f"interval: the mass is {mass}, but must lie strictly between 0 and 1: 0.9 is usual.")
        low, high = self.quantile([(1.0 - mass) / 2.0, (1.0 + mass) / 2.0], site)
        return low, high

    def summary(self, sites: Sequence[str] | None = None, *, limit: int = 12) -> Summary:
        """Mean, sd, quantiles, effective sample sizes and R-hat of each site, as in `Posterior.summary`."""
        names = chosen_sites(sites, self.sites, "this prediction")
        arrays = arrays_of(self.sites, names)
        return summarise({n: a if self.batch_ndims == 2 else a[None] for n, a in arrays.items()}, limit=limit)

    def _flat(self, site: str | None) -> Tensor:
        """Draws of a site as floats, (draws, *shape)."""
        if site is None:
            if len(self.drawn) != 1:
                known = ", ".join(map(repr, self.drawn or self.sites))
                raise PredictionError(f"there are several sites to choose from, {known}: name one.")
            site = self.drawn[0]
        value = self[site].flatten(0, self.batch_ndims - 1)
        return value if value.is_floating_point() else value.to(torch.float64)
