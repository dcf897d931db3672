"""`reprior`: replace the prior of sample sites, from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from torch.distributions import Distribution

from sursum.common.other_libraries import answers
from sursum.common.patterns import lookup
from sursum.common.user_frame import warn
from sursum.core.messages import Sample, Site
from sursum.core.plates import place
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.distributions.rebuild import tensors
from sursum.distributions.shapes import broadcasts
from sursum.errors import PriorShapeError, PriorTypeError, UnusedPriorWarning
from sursum.handlers.lift.fit import check_support, expand, recast_to, with_events
from sursum.handlers.unused import find_unused


@answers("priors by site name are one mapping, `reprior(model, prior={'{}': …})`", priors="prior", dist="prior")
@handler
class reprior(Messenger[P, R]):
    r"""Replace the prior of latent sites: what `lift` does for parameters, for `sample`.

    Args:
        prior: a mapping from names or patterns to distributions. A prior is expanded to the site's batch and event
            shape, and cast to its dtype.

    Raises:
        PriorTypeError: something that is not a distribution.
        PriorShapeError: a prior that does not expand to the site's shape.
        PriorSupportError: a prior for a lifted parameter whose support is not inside the parameter's constraint.

    Warns:
        UnusedPriorWarning: a key matched no latent site.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> tr = su.poutine.trace(su.reprior(model, {"z": dist.Exponential(2.0)})).get_trace()
        >>> type(tr["z"].fn).__name__
        'Exponential'
    """

    prior: Mapping[str, Distribution] = required()

    met: list[str] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prior, Mapping):
            raise PriorTypeError(f"reprior needs a mapping from names to distributions, but got {self.prior!r}.")
        for key, prior in self.prior.items():
            if not isinstance(key, str):
                raise PriorTypeError(f"reprior: the keys must be strings, names of sites or patterns, but one is {key!r}.")
            if not isinstance(prior, Distribution):
                raise PriorTypeError(f"reprior: the prior for {key!r} must be a Distribution, but it is {prior!r}.")

    def handle(self, site: Site) -> Any:
        latent = isinstance(site, Sample) and not site.is_observed and not site.infer.get("is_subsample")
        if latent and isinstance(site, Sample) and isinstance(site.fn, Distribution):
            self.met.append(site.name)
            found = lookup(self.prior, site.name)
            if found is not None:
                site = place(site.but(fn=_fit(found[1], site)))
        return perform(site)

    def finish(self) -> None:
        for key, why in find_unused(self, self.prior, self.met, "no latent site of that name was reached"):
            warn(f"reprior: the prior for {key!r} was not used: {why}", UnusedPriorWarning)


def _fit(prior: Distribution, site: Sample) -> Distribution:
    """`prior` with the site's dtype, batch shape and event shape, checked against the constraint if the site was lifted."""
    named = f"reprior: the prior {type(prior).__name__} for site {site}"
    like = next((tensor for tensor in tensors(site.fn) if tensor.is_floating_point()), None)
    if like is not None:
        prior = recast_to(prior, like, named)
    if site.param is not None:
        check_support(prior, site.param.constraint, named)
    batch, event = site.fn.batch_shape, site.fn.event_shape
    shape = batch + event
    split = len(shape) - len(prior.event_shape)
    if split < len(batch) or shape[split:] != prior.event_shape or not broadcasts(prior.batch_shape, shape[:split]):
        raise PriorShapeError(
            f"{named} has batch shape {tuple(prior.batch_shape)} and event shape {tuple(prior.event_shape)}, which does not "
            f"expand to the site's {tuple(batch)} and {tuple(event)}. Use a scalar prior, or one of exactly that shape."
        )
    return with_events(expand(prior, shape[:split], named), split - len(batch))
