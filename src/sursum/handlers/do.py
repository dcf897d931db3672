"""`do`: intervene."""

from __future__ import annotations

from typing import Any

from torch.distributions import Distribution

from sursum.common.other_libraries import answers
from sursum.core.messages import Deterministic, Sample, Site
from sursum.core.runtime import P, R, handler, perform
from sursum.core.validation import check_fits
from sursum.handlers.given import Given


@answers(
    "values by site name are one mapping, `do(model, data={'{}': …})`", interventions="data", values="data", param_map="data"
)
@handler
class do(Given[P, R]):
    r"""Intervene: the program continues with the values in `data`, :math:`p(\,\cdot \mid do(z = v))`.

    Outside, the site itself remains: it is drawn and scored as before, but affects nothing. Inside, where its
    value is v, it is a deterministic site, which has no density.

    References:
        Pearl, *Causality* (2009), section 3.2.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> su.poutine.do(lambda: 2 * su.sample("z", dist.Normal(0.0, 1.0)), data={"z": torch.tensor(3.0)})()
        tensor(6.)
    """

    def handle(self, site: Site) -> Any:
        out = perform(site)
        if not self.given(site) or not isinstance(site, Sample):
            return out
        site = site.but(value=self.value(site))
        check_fits(site)
        return Deterministic(
            name=site.name,
            value=site.value,
            event_dim=len(site.fn.event_shape) if isinstance(site.fn, Distribution) else None,
            plates=site.plates,
            where=site.where,
            param=site.param,
        )
