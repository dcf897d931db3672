"""`config_enumerate`: say for all discrete sites of a program whether they are summed out."""

from __future__ import annotations

from typing import Any

from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform
from sursum.errors import OptionError

WAYS = ("parallel", "sequential", None)


@handler
class config_enumerate(Messenger[P, R]):
    """Give every latent site that says nothing itself ``infer={"enumerate": default}``.

    Discrete sites of a model are summed out without it; under `TraceEnum_ELBO` it makes those of a guide be, too.

    Args:
        default: "parallel" to sum a site out by all its values at once, "sequential" likewise (the sum is the same), None to
            leave it alone.

    Raises:
        OptionError: another `default`.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Bernoulli(0.5))
        >>> dict(su.trace(config_enumerate(model)).get_trace()["z"].infer)
        {'enumerate': 'parallel'}
    """

    default: str | None = "parallel"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.default not in WAYS:
            raise OptionError(f"`default` is {self.default!r}, but must be 'parallel', 'sequential' or None.")

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and not site.is_observed and "enumerate" not in site.infer:
            site = site.but(infer={**site.infer, "enumerate": self.default})
        return perform(site)
