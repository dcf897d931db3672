"""`Again`: a program whose data are observed, and other data beside them that were drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sursum.core.messages import Param, Sample, Site
from sursum.core.runtime import P, R, handler, perform
from sursum.handlers import trace
from sursum.handlers.given import Given

SUFFIX = "_again"


@handler
class Again(Given[P, R]):
    """A second run of a program at the values of a first one, in `data` with other observations: only these are scored.

    Their sites are named ``<name>_again``. Latent sites, factors and deterministic ones are those of the first run.
    """

    def handle(self, site: Site) -> Any:
        if isinstance(site, Param):
            return perform(site)
        if not isinstance(site, Sample):
            return site
        observed = site.is_observed
        if self.given(site):
            site = site.but(value=self.value(site))
        return perform(site.but(name=site.name + SUFFIX)) if observed else site


def observe_again(model: Callable[..., Any]) -> Callable[..., Any]:
    r"""The program of :math:`p(z)\, p(y \mid z)\, p(y' \mid z)`; its first argument is y′, by name of the observed site."""

    def program(data: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> None:
        first = trace(model).get_trace(*args, **kwargs)
        values = {name: site.value for name, site in first.stochastic.items()}
        Again(model, data={**values, **data})(*args, **kwargs)

    return program
