r"""How far to centre each element of a site, from draws in any coordinates.

For :math:`x \sim F(\mu, \sigma)` and :math:`z_c = c\mu + \sigma^{c-1}(x - \mu)`, the Gaussian with independent coordinates that
is nearest to the posterior, in the divergence from the posterior to it, is nearer the smaller

.. math:: \log \mathrm{sd}(z_c) + (1 - c)\, \mathrm{E}[\log \sigma]

of each element, which draws of x, μ and σ tell for every c at once: no gradient is needed to learn c.

References:
    Gorinova, Moore, Hoffman, "Automatic Reparameterisation of Probabilistic Programs" (2020), section 4, which learns c by the
    divergence in the other direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution, VonMises

from sursum.core.messages import Deterministic, Moment, Sample, Site, Step
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.handlers.loc_scale import location_and_scale
from sursum.handlers.reparam import base_of

Array = NDArray[np.float64]

GRID = np.linspace(0.0, 1.0, 21)
"""The centrings among which one is chosen."""

MARKS = (" location", " scale", " base")
"""What follows the name of a site in those of its location and scale; no name that is written has a blank like these."""


@dataclass(frozen=True)
class Relative:
    """A latent site whose location or scale depends on other latent sites.

    Args:
        transformed: whether it is the image of a location-scale family, such as `LogNormal`, and not one itself.
        in_time: whether it is in a loop, where elements of a centring would have to be told apart by step.
    """

    transformed: bool
    in_time: bool


@handler
class FindRelative(Messenger[P, R]):
    """Enters every latent site that depends on others into `found`; run where latent sites require gradients."""

    found: dict[str, Relative] = required()

    def handle(self, site: Site) -> Any:
        form = _form(site)
        if form is not None and isinstance(site, Sample):
            fn, transformed = form
            if fn.loc.requires_grad or fn.scale.requires_grad:
                in_time = any(isinstance(frame, (Step, Moment)) for frame in site.plates)
                self.found[site.name] = Relative(transformed, in_time)
        return perform(site)


@handler
class RecordRelative(Messenger[P, R]):
    """Keeps the location and scale of some sites, and their value before a transform, as deterministic sites."""

    sites: Mapping[str, Relative] = required()

    def handle(self, site: Site) -> Any:
        answer = perform(site)
        form = _form(site) if site.name in self.sites else None
        if form is None or not isinstance(site, Sample):
            return answer
        fn, transformed = form
        value: Tensor = answer.value
        if transformed:
            for transform in reversed(base_of(site.fn)[0].transforms):
                value = transform.inv(value)
        for mark, kept in zip(MARKS, (fn.loc, fn.scale, value), strict=True):
            kept = torch.as_tensor(kept).expand(value.shape).clone()
            event_dim = len(site.fn.event_shape)
            perform(Deterministic(name=site.name + mark, value=kept, event_dim=event_dim, plates=site.plates, where=site.where))
        return answer


def _form(site: Site) -> tuple[Any, bool] | None:
    """The location-scale family of a latent site, and whether the site is an image of it; None if there is none."""
    latent = isinstance(site, Sample) and not site.is_observed and site.value is None and not site.infer.get("is_subsample")
    if not latent or not isinstance(site, Sample) or not isinstance(site.fn, Distribution):
        return None
    fn, _ = base_of(site.fn)
    transformed = isinstance(fn, TransformedDistribution)
    if isinstance(fn, TransformedDistribution):
        # An image whose elements are not one to one with those of the base has no centring of its own.
        if any(not one.bijective or one.domain.event_dim or one.codomain.event_dim for one in fn.transforms):
            return None
        fn = fn.base_dist
        fn = fn.base_dist if isinstance(fn, Independent) else fn
    if location_and_scale(fn) is None or isinstance(fn, VonMises):
        return None
    return fn, transformed


def learn_centring(posterior: Any, name: str, in_time: bool) -> Array:
    """The centring of each element of a site, of the site's shape; of a site in time one for all.

    Args:
        posterior: draws of a program under `RecordRelative`.
    """
    loc, scale, value = (_flat(posterior[name + mark]) for mark in MARKS)
    score = np.stack([_score(c, loc, scale, value) for c in GRID])  # (c, *shape)
    if in_time:
        return np.asarray(GRID[score.reshape(len(GRID), -1).sum(1).argmin()])
    found: Array = GRID[score.argmin(0)]
    return found


def _score(c: float, loc: Array, scale: Array, value: Array) -> Array:
    """The divergence of each element at one centring, but for a constant."""
    z = c * loc + scale ** (c - 1.0) * (value - loc)
    found: Array = np.log(z.std(0)) + (1.0 - c) * np.log(scale).mean(0)
    return found


def _flat(draws: Any) -> Array:
    found: Array = np.asarray(draws, dtype=np.float64)
    return found.reshape(-1, *found.shape[2:])
