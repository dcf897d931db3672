"""Flat priors, which have no draws, when a program is run only to be looked at."""

from __future__ import annotations

from typing import Any

from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, handler, perform
from sursum.distributions.fluent import unwrap
from sursum.distributions.improper import ImproperUniform


@handler
class StartImproper(Messenger):
    """Gives a latent site with a flat prior the value that samplers would start from."""

    def handle(self, site: Site) -> Any:
        flat = isinstance(site, Sample) and site.value is None and isinstance(unwrap(site.fn), ImproperUniform)
        if flat and isinstance(site, Sample) and site.init is not None:
            site = site.but(value=site.init)
        return perform(site)
