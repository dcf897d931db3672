"""`uncondition`: draw observed sites instead."""

from __future__ import annotations

from typing import Any

from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform


@handler
class uncondition(Messenger[P, R]):
    r"""Draw what was observed: :math:`p(z, y = data)` becomes :math:`p(z, y)`.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> model = lambda: su.sample("z", dist.Delta(torch.tensor(1.0)), obs=torch.tensor(1.0))
        >>> su.poutine.trace(su.poutine.uncondition(model)).get_trace()["z"].is_observed
        False
    """

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and site.is_observed:
            site = site.but(value=None, is_observed=False)
        return perform(site)
