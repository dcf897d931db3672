"""`condition`: observe sites."""

from __future__ import annotations

from typing import Any

from sursum.common.other_libraries import answers
from sursum.core.messages import Sample, Site
from sursum.core.runtime import P, R, handler, perform
from sursum.handlers.given import Given


@answers(
    "values by site name are one mapping, `condition(model, data={'{}': …})`",
    obs="data",
    observations="data",
    values="data",
    param_map="data",
)
@handler
class condition(Given[P, R]):
    r"""Observe the sites named in `data`: :math:`p(z, y)` becomes :math:`p(z, y = data)`.

    Warns:
        UnusedSiteWarning: a name that is not a sample site, e.g. a parameter that is lifted only further out.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> su.poutine.condition(model, data={"z": torch.tensor(2.0)})()
        tensor(2.)
    """

    def handle(self, site: Site) -> Any:
        if self.given(site) and isinstance(site, Sample):
            site = site.but(value=self.value(site), is_observed=True)
        return perform(site)
