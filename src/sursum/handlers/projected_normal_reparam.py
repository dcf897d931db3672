"""`ProjectedNormalReparam`: a direction as a normal vector, divided by its norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent

from sursum.core.messages import Sample
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.standard import Normal
from sursum.errors import SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class ProjectedNormalReparam:
    r"""A site on the sphere with a projected normal distribution, drawn before its projection.

    .. math:: v \sim N(c, I), \qquad x = v / \lVert v \rVert

    where c is the concentration. The auxiliary site is named ``<name>_normal``.

    Raises:
        SiteError: a site whose distribution is not a projected normal.
    """

    def __call__(self, site: Sample) -> Tensor:
        fn: Any
        fn, events = base_of(site.fn)
        if type(fn).__name__ != "ProjectedNormal":
            raise SiteError(
                f"site {site} is not a projected normal: ProjectedNormalReparam needs a distribution on a sphere with a "
                f"concentration, and this is {type(fn).__name__}."
            )
        base = Normal(fn.concentration, torch.ones_like(fn.concentration), validate_args=False)
        drawn = site.but(name=f"{site.name}_normal", fn=Independent(base, events + 1))
        with at_site(drawn):
            vector: Tensor = perform(drawn).value
        tiny = torch.finfo(vector.dtype).tiny
        direction: Tensor = vector / vector.norm(dim=-1, keepdim=True).clamp(min=tiny)
        return direction
