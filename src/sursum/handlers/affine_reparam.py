"""`AffineReparam`: sites of location-scale families, shifted and scaled by fixed numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from sursum.common.shown import abbreviate
from sursum.core.messages import Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.shapes import broadcasts
from sursum.errors import ArgumentError, SiteError
from sursum.handlers.loc_scale import location_and_scale, no_location_and_scale
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class AffineReparam:
    r"""A site of a location-scale family, in units of its own posterior: :math:`x = m + s x'` with fixed m and s.

    With the mean and sd of an earlier run as m and s, every element of :math:`x'`, the auxiliary site ``<name>_standardized``,
    has a posterior near 0 with sd near 1. NUTS learns scales by itself; optimisers and guides do not.

    Args:
        loc: m, a number or a tensor that broadcasts to the site.
        scale: s, positive, likewise.

    Raises:
        ArgumentError: m is not finite, or s is not positive.
        SiteError: a site of another form, or of another shape.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("theta", dist.Normal(5.0, 2.0))
        >>> found = su.trace(su.reparam(model, {"theta": AffineReparam(4.0, 0.5)})).get_trace()
        >>> list(found), found["theta_standardized"].fn
        (['theta_standardized', 'theta'], Normal(loc: 2.0, scale: 4.0))
    """

    loc: float | Tensor
    scale: float | Tensor

    def __post_init__(self) -> None:
        loc, scale = torch.as_tensor(self.loc), torch.as_tensor(self.scale)
        if not bool(loc.isfinite().all()) or not bool(((scale > 0) & scale.isfinite()).all()):
            raise ArgumentError(
                f"AffineReparam: loc must be finite and scale positive, but they are {abbreviate(self.loc)} and "
                f"{abbreviate(self.scale)}. Give the mean and the sd of an earlier posterior."
            )

    def __call__(self, site: Sample) -> Tensor:
        base, events = base_of(site.fn)
        arguments = location_and_scale(base)
        if arguments is None:
            raise no_location_and_scale(site, "AffineReparam")
        shape = site.fn.batch_shape + site.fn.event_shape
        like: Tensor = base.scale
        m, s = (torch.as_tensor(one, dtype=like.dtype, device=like.device) for one in (self.loc, self.scale))
        if not (broadcasts(m.shape, shape) and broadcasts(s.shape, shape)):
            raise SiteError(
                f"site {site} has shape {tuple(shape)}, to which loc and scale of AffineReparam, of shapes {tuple(m.shape)} "
                f"and {tuple(s.shape)}, do not broadcast. Give one number for each element, or one for all."
            )
        moved = {"loc": (base.loc - m) / s, "scale": base.scale / s}
        aux: Distribution = type(base)(**arguments | moved, validate_args=False)
        auxiliary = site.but(
            name=f"{site.name}_standardized",
            fn=Independent(aux, events) if events else aux,
            init=None if site.init is None else ((site.init - m) / s).detach(),
        )
        with at_site(auxiliary):
            value = perform(auxiliary).value
        return torch.as_tensor(m + s * value)
