"""`LocScaleReparam`: sites of location-scale families, non-centred fully, partially, or to a learnt degree."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from sursum.common.shown import abbreviate
from sursum.core.messages import Param, Sample
from sursum.core.primitives import read
from sursum.core.runtime import perform
from sursum.core.scope import at_site
from sursum.distributions.shapes import broadcasts
from sursum.distributions.supports import peel, support_of
from sursum.errors import ArgumentError, SiteError
from sursum.handlers.reparam import base_of


@dataclass(frozen=True)
class LocScaleReparam:
    r"""A site of a location-scale family, drawn (partially) non-centred.

    :math:`x = \mu + \sigma^{1-c}\,(x' - c\mu)` with :math:`x' \sim F(c\mu, \sigma^c)`: centring c = 1 leaves the site
    unchanged, c = 0 standardises it. The auxiliary site is named ``<name>_decentered``.

    Args:
        centered: the centring c, between 0 and 1: a number, or a tensor that broadcasts to the site, with one for each
            element. None learns it: a parameter ``<name>_centered`` in (0, 1), one per
            element, which starts at ½. SVI trains it to improve the guide: c changes the coordinates, not the
            posterior. It can be lifted like any parameter, ``lift(reparam(model, …), {"theta_centered": dist.Beta(2, 2)})``;
            its posterior is then its prior. `su.infer.ReparamSearch` learns it for MCMC, from short runs.

    Raises:
        ArgumentError: a centring that is not between 0 and 1.
        SiteError: a site of another form, or a tensor that does not broadcast to it.

    References:
        Gorinova, Moore, Hoffman, "Automatic Reparameterisation of Probabilistic Programs" (2020), section 4.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("theta", dist.Normal(5.0, 2.0))
        >>> list(su.poutine.trace(su.reparam(model, {"theta": LocScaleReparam(None)})).get_trace())
        ['theta_centered', 'theta_decentered', 'theta']
    """

    centered: float | Tensor | None = 0.0

    def __post_init__(self) -> None:
        c: Any = self.centered
        within = (isinstance(c, Real) and not isinstance(c, bool) and 0.0 <= float(c) <= 1.0) or (
            isinstance(c, Tensor) and c.is_floating_point() and bool(((c >= 0.0) & (c <= 1.0)).all())
        )
        if c is not None and not within:
            raise ArgumentError(
                f"LocScaleReparam: centered must lie between 0 and 1, but is {abbreviate(c)}. Give such a number, a tensor of "
                "them, or None to learn it."
            )

    def __call__(self, site: Sample) -> Tensor:
        base, events = base_of(site.fn)
        arguments = location_and_scale(base)
        if arguments is None:
            raise no_location_and_scale(site, "LocScaleReparam")
        loc, scale = base.loc, base.scale
        c: Any = _learnt(site, scale) if self.centered is None else self._read_given(site, scale)
        whole = isinstance(c, float) and c == 0.0
        # Fully non-centred, the auxiliary site depends on nothing: every gradient is spared 0·μ and σ⁰.
        part = (torch.zeros_like(loc.detach()), torch.ones_like(scale.detach())) if whole else (c * loc, scale**c)
        rest = scale if whole else scale ** (1.0 - c)
        aux: Distribution = type(base)(**arguments | {"loc": part[0], "scale": part[1]}, validate_args=False)
        start = None if site.init is None else part[0] + (site.init - loc) / rest
        auxiliary = site.but(
            name=f"{site.name}_decentered",
            fn=Independent(aux, events) if events else aux,
            init=None if start is None else start.detach(),
        )
        with at_site(auxiliary):
            value = perform(auxiliary).value
        return torch.as_tensor(loc + rest * (value if whole else value - part[0]))

    def _read_given(self, site: Sample, like: Tensor) -> float | Tensor:
        """The centring that was given, a number or of the site's dtype."""
        c = self.centered
        if not isinstance(c, Tensor):
            return float(c)  # type: ignore[arg-type]  # None is learnt
        shape = site.fn.batch_shape + site.fn.event_shape
        if not broadcasts(c.shape, shape):
            raise SiteError(
                f"site {site} has shape {tuple(shape)}, to which a centring of shape {tuple(c.shape)} does not broadcast. "
                "Give LocScaleReparam one number for each element, or one for all."
            )
        return c.to(like)


def location_and_scale(fn: Distribution) -> dict[str, Any] | None:
    """The arguments of a real-valued distribution that has a location and a scale among them; None if `fn` is none."""
    arguments = {name: getattr(fn, name) for name in fn.arg_constraints if name in vars(fn)}
    if not {"loc", "scale"} <= arguments.keys():
        return None
    try:
        return arguments if peel(support_of(fn)) is constraints.real else None
    except NotImplementedError:
        return None


def no_location_and_scale(site: Sample, verb: str) -> SiteError:
    """What is wrong with a site of another form."""
    return SiteError(
        f"site {site} has no location-scale form: {verb} needs a real-valued distribution with arguments loc and scale, such "
        f"as Normal, and this is {type(base_of(site.fn)[0]).__name__}."
    )


def _learnt(site: Sample, like: Tensor) -> Tensor:
    """The centring of each element, a parameter: local if plates own all of the site's batch dimensions."""
    shape = list(site.fn.batch_shape + site.fn.event_shape)
    batch = len(site.fn.batch_shape)
    owned = set()
    for frame in site.plates:
        if frame.dim is not None:
            owned.add(batch + frame.dim)
            shape[batch + frame.dim] = frame.size
    local = owned and all(size == 1 or i in owned for i, size in enumerate(shape[:batch]))
    return read(
        Param(
            name=f"{site.name}_centered",
            initial=torch.full(shape, 0.5, dtype=like.dtype, device=like.device),
            constraint=constraints.unit_interval,
            event_dim=len(site.fn.event_shape) if local else None,
            plates=site.plates,
            where=site.where,
            generator=site.generator,
        )
    )
