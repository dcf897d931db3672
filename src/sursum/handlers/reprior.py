"""`reprior`: another prior for sample sites, from outside."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from torch.distributions import Distribution, Independent

from sursum.errors import PriorShapeError, PriorTypeError, UnusedPriorWarning
from sursum.messages import Sample, Site
from sursum.patterns import lookup, matches, suggestion
from sursum.placing import place
from sursum.runtime import Messenger, handler, perform, required
from sursum.validation import validation_enabled


@handler
class reprior(Messenger):
    r"""Replace the prior of latent sites: what `lift` does for parameters, for `sample`.

    Args:
        priors: a mapping from names or patterns to distributions. A prior is expanded to the site's batch and event
            shape.

    Raises:
        PriorTypeError: something that is not a distribution.
        PriorShapeError: a prior that does not expand to the site's shape.

    Warns:
        UnusedPriorWarning: a key matched no latent site.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> tr = su.poutine.trace(su.reprior(model, {"z": dist.Exponential(2.0)})).get_trace()
        >>> type(tr["z"].fn).__name__
        'Exponential'
    """

    priors: Mapping[str, Distribution] = required()

    met: list[str] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, prior in self.priors.items():
            if not isinstance(prior, Distribution):
                raise PriorTypeError(f"reprior: the prior for {key!r} must be a Distribution, and it is {prior!r}.")

    def handle(self, site: Site) -> Any:
        if isinstance(site, Sample) and not site.is_observed and isinstance(site.fn, Distribution):
            self.met.append(site.name)
            found = lookup(self.priors, site.name)
            if found is not None:
                site = place(site.but(fn=_shaped(found[1], site)))
        return perform(site)

    def finish(self) -> None:
        for key in self.priors:
            if validation_enabled() and not any(matches(key, name) for name in self.met) and self.note(key):
                warnings.warn(
                    f"reprior: the prior for {key!r} was not used: no latent site of that name was reached."
                    f"{suggestion(key, self.met)}",
                    UnusedPriorWarning,
                    stacklevel=4,
                )


def _shaped(prior: Distribution, site: Sample) -> Distribution:
    """`prior` with the batch and event shape of the site's own."""
    batch, event = site.fn.batch_shape, site.fn.event_shape
    shape = batch + event
    split = len(shape) - len(prior.event_shape)
    try:
        if split < len(batch) or shape[split:] != prior.event_shape:
            raise RuntimeError
        wide = prior.expand(shape[:split]) if prior.batch_shape != shape[:split] else prior
    except RuntimeError:
        raise PriorShapeError(
            f"reprior: the prior {type(prior).__name__} for site {site} has batch shape {tuple(prior.batch_shape)} and "
            f"event shape {tuple(prior.event_shape)}, which does not expand to the site's {tuple(batch)} and "
            f"{tuple(event)}. Use a scalar prior, or one of exactly that shape."
        ) from None
    count = split - len(batch)
    return Independent(wide, count) if count else wide
