"""`CircularReparam`: an angle as the direction of a vector of the plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent, VonMises

from sursum.core.messages import Factor, Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.standard import Normal
from sursum.errors import SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class CircularReparam:
    r"""An angle in (−π, π], drawn as the direction of a normal vector: no end of an interval is between near angles.

    .. math:: v \sim N(0, I_2), \qquad x = \mathrm{atan2}(v_2, v_1), \qquad \log p \mathrel{+}= \log p(x) + \log 2\pi

    The direction of v is uniform and independent of its length, so x has the site's distribution. The auxiliary sites are
    ``<name>_direction`` and the factor ``<name>_density``.

    Raises:
        SiteError: a site whose distribution is not of angles.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("x", dist.VonMises(3.0, 2.0))
        >>> list(su.trace(su.reparam(model, {"x": CircularReparam()})).get_trace())
        ['x_direction', 'x_density', 'x']
    """

    def __call__(self, site: Sample) -> Tensor:
        fn, events = base_of(site.fn)
        if not isinstance(fn, VonMises):
            raise SiteError(f"site {site} is not an angle: CircularReparam needs a VonMises, and this is {type(fn).__name__}.")
        shape = site.fn.batch_shape + site.fn.event_shape
        zeros = torch.zeros((*shape, 2), dtype=fn.loc.dtype, device=fn.loc.device)
        start = None
        if site.init is not None:
            start = torch.stack([site.init.cos(), site.init.sin()], -1).detach()
        drawn = site.but(
            name=f"{site.name}_direction", fn=Independent(Normal(zeros, 1.0, validate_args=False), events + 1), init=start
        )
        with at_site(drawn):
            vector: Tensor = perform(drawn).value
        angle = torch.atan2(vector[..., 1], vector[..., 0])
        term = fn.log_prob(angle) + math.log(2 * math.pi)
        if events:
            term = term.sum(tuple(range(-events, 0)))
        density = Factor(
            name=f"{site.name}_density", value=term, plates=site.plates, scale=site.scale, mask=site.mask, where=site.where
        )
        with at_site(density):
            perform(density)
        return angle
