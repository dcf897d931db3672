"""Strategies: which reparameteriser a site gets, by its distribution."""

from __future__ import annotations

from dataclasses import dataclass

from torch.distributions import StudentT, TransformedDistribution, VonMises

from sursum.core.messages import Sample
from sursum.handlers.circular_reparam import CircularReparam
from sursum.handlers.loc_scale import LocScaleReparam, location_and_scale
from sursum.handlers.projected_normal_reparam import ProjectedNormalReparam
from sursum.handlers.reparam import Reparam, base_of
from sursum.handlers.student_t_reparam import StudentTReparam
from sursum.handlers.transform_reparam import TransformReparam


@dataclass(frozen=True)
class MinimalReparam:
    """Reparameterise only where a sampler could not go on without: angles and directions.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("angle", dist.VonMises(0.0, 1.0))
        ...     su.sample("x", dist.Normal(0.0, 1.0))
        >>> list(su.trace(su.reparam(model, MinimalReparam())).get_trace())
        ['angle_direction', 'angle_density', 'angle', 'x']
    """

    def __call__(self, site: Sample) -> Reparam | None:
        fn, _ = base_of(site.fn)
        if type(fn).__name__ == "ProjectedNormal":
            return ProjectedNormalReparam()
        return CircularReparam() if isinstance(fn, VonMises) else None


@dataclass(frozen=True)
class AutoReparam:
    """Reparameterise every latent site whose distribution offers it.

    Angles and directions as `MinimalReparam` does; a Student t as a scale mixture; a location-scale family by
    `LocScaleReparam`; a transformed distribution by `TransformReparam`. Other sites, and observed ones, are left as they are.

    Args:
        centered: the centring of `LocScaleReparam`; None learns it, in SVI.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> def model():
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     su.sample("s", dist.LogNormal(mu, 1.0))
        >>> list(su.trace(su.reparam(model, AutoReparam())).get_trace())
        ['mu_decentered', 'mu', 's_base', 's']
    """

    centered: float | None = 0.0

    def __call__(self, site: Sample) -> Reparam | None:
        if site.is_observed or site.value is not None:
            return None
        fn, _ = base_of(site.fn)
        if isinstance(fn, StudentT):
            return StudentTReparam()
        if isinstance(fn, TransformedDistribution):
            return TransformReparam() if all(transform.bijective for transform in fn.transforms) else None
        if location_and_scale(fn) is not None and not isinstance(fn, VonMises):
            return LocScaleReparam(self.centered)
        return MinimalReparam()(site)
