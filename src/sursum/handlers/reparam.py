"""`reparam`: write latent sites in other coordinates, from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal, Protocol, Self

from torch import Tensor
from torch.distributions import Distribution, Independent

from sursum.common.patterns import lookup
from sursum.common.user_frame import warn
from sursum.core.messages import Deterministic, Sample, Site
from sursum.core.runtime import Messenger, P, R, handler, perform, required
from sursum.core.scope import recall
from sursum.errors import HandlerError, SiteError, UnusedSiteWarning
from sursum.handlers.unused import find_unused


class Reparam(Protocol):
    """A reparameterisation of a site: draws auxiliary sites through `perform`, and returns the resulting value; or the site to
    go on with, which has another distribution. One with a true attribute `takes_observed` takes observed sites as well."""

    def __call__(self, site: Sample) -> Tensor | Sample: ...


class SharedReparam(ABC):
    """A joint reparameterisation of several sites: a `Reparam` that is copied for each execution."""

    @abstractmethod
    def __call__(self, site: Sample) -> Tensor | Sample:
        """The value of one of the sites."""

    @abstractmethod
    def fresh(self) -> SharedReparam:
        """The copy for one execution."""

    @abstractmethod
    def finish(self) -> None:
        """Called on the copy when the execution ends."""


@handler
class reparam(Messenger[P, R]):
    r"""Draw latent sites through auxiliary ones: the same joint distribution, a different geometry for the sampler.

    Args:
        config: a mapping from names or patterns to reparameterisers, e.g. ``{"theta": LocScaleReparam(0.0)}``; or a strategy,
            a function from a site to its reparameteriser or to None, such as `AutoReparam()`; or "auto", for
            `MCMC`, which measures by short runs what serves each site best, as `su.infer.ReparamSearch` does.

    Raises:
        HandlerError: a configuration that is none of these, or that contains something other than a reparameteriser; "auto"
            where the program is run by anything but `MCMC`.
        SiteError: a site whose distribution does not have the required form, or that is observed and named exactly.

    Warns:
        UnusedSiteWarning: a key that matched no sample site, or only sites taken by an earlier key.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> from sursum.infer.reparam import LocScaleReparam
        >>> model = lambda: su.sample("theta", dist.Normal(5.0, 2.0))
        >>> list(su.poutine.trace(su.reparam(model, {"theta": LocScaleReparam(0.0)})).get_trace())
        ['theta_decentered', 'theta']
    """

    config: Mapping[str, Reparam] | Callable[[Sample], Reparam | None] | Literal["auto"] = required()

    met: dict[str, None] = field(init=False, repr=False, default_factory=dict)
    shared: dict[int, tuple[SharedReparam, SharedReparam]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = isinstance(self.config, Mapping) or callable(self.config) or self.is_measured
        if isinstance(self.config, type) or not known:
            raise HandlerError(
                f"the configuration of reparam is {self.config!r}, but must be a mapping from names or patterns to "
                'reparameterisers, {"theta": LocScaleReparam(0.0)}, a function from a site to one, AutoReparam(), or "auto".'
            )
        for key, strategy in self.config.items() if isinstance(self.config, Mapping) else ():
            if isinstance(strategy, type) or not callable(strategy):
                found = f"the class {strategy.__name__}" if isinstance(strategy, type) else repr(strategy)
                raise HandlerError(
                    f"reparam got {found} for {key!r}, but an instance of a reparameteriser was expected: "
                    f"{{{key!r}: LocScaleReparam(0.0)}}."
                )

    @property
    def is_measured(self) -> bool:
        """Whether short runs are to find the configuration."""
        return isinstance(self.config, str) and self.config == "auto"

    def fresh(self) -> Self:
        if self.is_measured:
            raise HandlerError(
                'reparam(…, "auto") is settled by short runs, which MCMC makes if it is the outermost handler: '
                'MCMC(NUTS(reparam(model, "auto"))).run(…). Elsewhere give the program that the search finds, '
                "su.infer.ReparamSearch(model).run(…).model."
            )
        copy = super().fresh()
        if not isinstance(self.config, Mapping):
            return copy
        shared = {id(one): one.fresh() for one in self.config.values() if isinstance(one, SharedReparam)}
        copy.config = {key: shared.get(id(one), one) for key, one in self.config.items()}
        return copy

    def finish(self) -> None:
        if not isinstance(self.config, Mapping):
            for _, running in self.shared.values():
                running.finish()
            return
        for key, why in find_unused(self, self.config, self.met, "no sample site of that name was reached"):
            warn(f"reparam: the reparameteriser for {key!r} was not used: {why}", UnusedSiteWarning)
        for one in {id(one): one for one in self.config.values() if isinstance(one, SharedReparam)}.values():
            one.finish()

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample):
            return perform(site)
        self.met[site.name] = None
        key, strategy = self._choose(site)
        if strategy is None:
            return perform(site)
        if (site.is_observed or site.value is not None) and not getattr(strategy, "takes_observed", False):
            if key != site.name:
                return perform(site)
            raise SiteError(
                f"site {site} is observed or has been given a value, and reparam cannot change its coordinates. "
                "Remove it from the configuration."
            )
        made = strategy(_start(site))
        if isinstance(made, Sample):
            return perform(made)
        return perform(
            Deterministic(
                name=site.name,
                value=made,
                event_dim=len(site.fn.event_shape),
                plates=site.plates,
                where=site.where,
                param=site.param,
            )
        )

    def _choose(self, site: Sample) -> tuple[str, Reparam | None]:
        """The reparameteriser of a site, and the key it is found under; a strategy is asked about latent sites alone."""
        if isinstance(self.config, Mapping):
            return lookup(self.config, site.name) or ("", None)
        if site.infer.get("is_subsample") or not isinstance(site.fn, Distribution):
            return "", None
        assert callable(self.config)  # "auto" does not run
        found = self.config(site)
        if found is None or ((site.is_observed or site.value is not None) and not getattr(found, "takes_observed", False)):
            return "", None
        if isinstance(found, SharedReparam):
            found = self.shared.setdefault(id(found), (found, found.fresh()))[1]
        return "", found


def _start(site: Sample) -> Sample:
    """`site` with its recalled value as the starting point, and marked as such."""
    held = recall(site.name) if isinstance(site.fn, Distribution) else None
    if held is None or held.shape != site.fn.batch_shape + site.fn.event_shape:
        return site
    return site.but(init=held.detach(), infer={**site.infer, "is_recalled": True})


def base_of(fn: Distribution) -> tuple[Any, int]:
    """The distribution inside `Independent`, and the number of event dimensions that it added."""
    count = 0
    while isinstance(fn, Independent):
        count += fn.reinterpreted_batch_ndims
        fn = fn.base_dist
    return fn, count
