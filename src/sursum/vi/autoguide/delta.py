"""`AutoDelta`: a point for every latent site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sursum.core.messages import Frame, Sample
from sursum.core.plates import place as fit_to_plates
from sursum.core.plates import plate_scale
from sursum.vi.autoguide.guide import AutoGuide, Place, join_plates
from sursum.vi.pushforward import PlacedDelta


class AutoDelta(AutoGuide):
    r"""All mass at one point: with it SVI finds the mode of the posterior on the sites' own scale (MAP).

    .. math:: q(z) = \delta(z - \hat z)

    The parameter of a site ``s`` is ``auto.loc.s``, in unconstrained coordinates; `median` gives the point itself.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoDelta(model), su.optim.Adam({"lr": 0.1}), su.infer.Trace_ELBO())
        >>> result = svi.run(200)
        >>> round(float(svi.guide.median(svi.params)["mu"]), 2)
        1.0
    """

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        free = place.present(self._parameter(place), site)
        plates = join_plates(outer, site.plates)
        return fit_to_plates(
            Sample(
                name=site.name,
                fn=PlacedDelta(free, onto(free), 0.0, len(site.fn.event_shape)),
                plates=plates,
                scale=plate_scale(plates),
                mask=site.mask,
                where=site.where,
            )
        )

    def _parameter(self, place: Place) -> Tensor:
        return self.parameter(f"loc.{place.name}", lambda: place.start.clone())

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        points = {name: self._parameter(place).detach().double() for name, place in self.places.items()}
        return {name: point.expand(len(levels), *point.shape) for name, point in points.items()}
