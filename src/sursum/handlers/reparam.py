"""`reparam`: write latent sites in other coordinates, from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from sursum.errors import SiteError
from sursum.messages import Deterministic, Sample, Site
from sursum.patterns import lookup
from sursum.runtime import Messenger, at_site, handler, perform, recall, required
from sursum.supports import peeled, support_of


class Reparam(Protocol):
    """A way to write a latent site: it draws auxiliary sites through `perform` and returns the value they give."""

    def __call__(self, site: Sample) -> Tensor: ...


@handler
class reparam(Messenger):
    r"""Draw latent sites through auxiliary ones: the same joint distribution, another geometry for the sampler.

    Args:
        config: a mapping from names or patterns to reparameterisers, e.g. ``{"theta": LocScaleReparam(0.0)}``.

    Raises:
        SiteError: a site whose distribution has no such form, or that is observed and named exactly.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> from sursum.infer.reparam import LocScaleReparam
        >>> model = lambda: su.sample("theta", dist.Normal(5.0, 2.0))
        >>> list(su.poutine.trace(su.reparam(model, {"theta": LocScaleReparam(0.0)})).get_trace())
        ['theta_decentered', 'theta']
    """

    config: Mapping[str, Reparam] = required()

    def handle(self, site: Site) -> Any:
        found = lookup(self.config, site.name) if isinstance(site, Sample) else None
        if found is None or not isinstance(site, Sample):
            return perform(site)
        key, strategy = found
        if site.is_observed or site.value is not None:
            if key != site.name:
                return perform(site)
            raise SiteError(
                f"site {site} is observed or has been given a value, and reparam cannot change its coordinates. "
                "Leave it out of the configuration."
            )
        return perform(
            Deterministic(
                name=site.name,
                value=strategy(_started(site)),
                event_dim=len(site.fn.event_shape),
                plates=site.plates,
                where=site.where,
                param=site.param,
            )
        )


@dataclass(frozen=True)
class LocScaleReparam:
    r"""A site of a location-scale family, drawn (partly) standardised.

    :math:`x = \mu + \sigma^{1-c}\,(x' - c\mu)` with :math:`x' \sim F(c\mu, \sigma^c)`: centring c = 1 is the site as it
    was, c = 0 standardises it. The auxiliary site is called ``<name>_decentered``.

    Args:
        centered: the centring c, between 0 and 1.

    Reference: Gorinova, Moore, Hoffman, "Automatic Reparameterisation of Probabilistic Programs" (2020), section 4.

    Example:
        >>> LocScaleReparam(0.0)
        LocScaleReparam(centered=0.0)
    """

    centered: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.centered <= 1.0:
            raise ValueError(f"LocScaleReparam: centered must lie between 0 and 1, and is {self.centered}")

    def __call__(self, site: Sample) -> Tensor:
        base, events = _base(site.fn)
        arguments = {name: getattr(base, name) for name in base.arg_constraints if name in vars(base)}
        if not {"loc", "scale"} <= arguments.keys() or peeled(support_of(base)) is not constraints.real:
            raise SiteError(
                f"site {site} has no location-scale form: LocScaleReparam needs a real-valued distribution with "
                f"arguments loc and scale, such as Normal, and this is {type(base).__name__}."
            )
        loc, scale, c = base.loc, base.scale, self.centered
        # Fully standardised, the auxiliary site depends on nothing: no 0·μ and σ⁰ is left for every gradient to compute.
        part = (c * loc, scale**c) if c else (torch.zeros_like(loc.detach()), torch.ones_like(scale.detach()))
        rest = scale ** (1.0 - c) if c else scale
        aux: Distribution = type(base)(**arguments | {"loc": part[0], "scale": part[1]}, validate_args=False)
        start = None if site.init is None else part[0] + (site.init - loc) / rest
        auxiliary = site.but(
            name=f"{site.name}_decentered",
            fn=Independent(aux, events) if events else aux,
            init=None if start is None else start.detach(),
        )
        with at_site(auxiliary):
            value = perform(auxiliary).value
        return torch.as_tensor(loc + rest * (value - part[0] if c else value))


def _started(site: Sample) -> Sample:
    """`site` with the value that is recalled for it as the one to start from, and with a note of that."""
    held = recall(site.name) if isinstance(site.fn, Distribution) else None
    if held is None or held.shape != site.fn.batch_shape + site.fn.event_shape:
        return site
    return site.but(init=held.detach(), infer={**site.infer, "is_recalled": True})


def _base(fn: Distribution) -> tuple[Any, int]:
    """The distribution inside `Independent`, and how many event dimensions that added."""
    count = 0
    while isinstance(fn, Independent):
        count += fn.reinterpreted_batch_ndims
        fn = fn.base_dist
    return fn, count
