"""`replay`: reuse the latent values of a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sursum.core.messages import Sample, Site
from sursum.core.plates import by_step
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.core.validation import check_value


@handler
class replay(Messenger[P, R]):
    """Give every latent site its value in `trace`; sites missing from the trace are drawn as usual.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> tr = su.poutine.trace(model).get_trace()
        >>> bool(su.poutine.replay(model, trace=tr)() == tr["z"].value)
        True
    """

    trace: Mapping[str, Site] = required()

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and not site.is_observed:
            node = self.trace.get(site.name)
            if isinstance(node, Sample):
                site = site.but(value=by_step(site, node.value))
                check_value(site)
        return perform(site)
