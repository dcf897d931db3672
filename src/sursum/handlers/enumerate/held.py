"""`Held`: marks discrete latent sites that are coordinates of a density, drawn beside it, and not summed out."""

from __future__ import annotations

from typing import Any

from torch.distributions import Distribution

from sursum.common.patterns import matches
from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.distributions.supports import support_of
from sursum.handlers.enumerate.support import LARGEST, finite_support

HELD = "is_held"
"""What a site says, in its `infer`, whose values are coordinates of the density."""


@handler
class Held(Messenger[P, R]):
    """Marks the discrete latent sites that are named, or those that cannot be summed out.

    Args:
        sites: names or patterns; None for those with too many values, or that say ``infer={"enumerate": None}``.
    """

    sites: tuple[str, ...] | None = None

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and self._holds(site):
            site = site.but(infer={**site.infer, HELD: True})
        return perform(site)

    def _holds(self, site: Sample) -> bool:
        if not is_discrete(site):
            return False
        if self.sites is not None:
            return any(matches(pattern, site.name) for pattern in self.sites)
        found = finite_support(site.fn)
        asked = site.infer.get("enumerate", "")
        return asked is None or found is None or (found.size > LARGEST and not asked)


def is_held(site: Site) -> bool:
    """Whether the values of a site are discrete coordinates."""
    return isinstance(site, Sample) and bool(site.infer.get(HELD))


def is_discrete(site: Site) -> bool:
    """Whether a site is latent and discrete."""
    if not isinstance(site, Sample) or site.is_observed or site.value is not None or site.infer.get("is_subsample"):
        return False
    if not isinstance(site.fn, Distribution):
        return False
    try:
        return bool(support_of(site.fn).is_discrete)
    except (NotImplementedError, AttributeError):
        return False
