"""`AutoNormal`: independent normal distributions in unconstrained coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from sursum import distributions as dist
from sursum.common.settings import real_number
from sursum.core.messages import Frame, Sample
from sursum.core.plates import place as fit_to_plates
from sursum.core.plates import plate_scale
from sursum.core.trace import Trace
from sursum.density.unconstrain import is_identity
from sursum.errors import GuideError
from sursum.vi.autoguide.conditionals import Conditional, asked
from sursum.vi.autoguide.guide import AutoGuide, Place, join_plates
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.particle import IN_SUPPORT
from sursum.vi.pushforward import Pushforward


class AutoNormal(AutoGuide):
    r"""A normal distribution for every unconstrained coordinate, independent of the others (mean field).

    .. math:: q(z) = \prod_i N(u_i; \mu_i, \sigma_i) \left| \tfrac{\partial u}{\partial z} \right|

    Sites in subsampled plates have a mean and a scale for every element of the full plate. The parameters of a site ``s`` are
    ``auto.loc.s`` and ``auto.scale.s``.

    Args:
        model: the program.
        init_loc_fn: where the means start; see `AutoGuide`.
        init_scale: the initial standard deviation, above 0.
        conditionals: by name, for sites that are to have another distribution, a function of the site's prior and of the values
            of the sites before it, by name, that returns the distribution, on the site's support, or a tensor for a point. It
            is called inside the site's plates, and may read parameters and draw auxiliary sites.
        prefix: prefix of the parameters' names.

    Raises:
        GuideError: a conditional of a site that does not exist, or that is in a scan; one that returns something else.

    References:
        Kucukelbir et al., "Automatic differentiation variational inference" (2017), section 2.4.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoNormal(model), su.optim.Adam({"lr": 0.1}), su.infer.Trace_ELBO(), seed=0)
        >>> result = svi.run(300)
        >>> abs(float(svi.guide.median(svi.params)["mu"]) - 1.0) < 0.3
        True

        A site that follows another:

        >>> def pair():
        ...     return su.sample("z", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        >>> follow = lambda prior, values: dist.Normal(su.param("w", torch.tensor(0.5)) * values["mu"], prior.scale)
        >>> guide = AutoNormal(pair, conditionals={"z": follow})
        >>> with su.ParamStore() as store:
        ...     _ = guide()
        >>> list(store.unconstrained)
        ['auto.loc.mu', 'auto.scale.mu', 'w']
    """

    def __init__(
        self,
        model: Any,
        *,
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.1,
        conditionals: Mapping[str, Conditional] | None = None,
        prefix: str = "auto",
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, prefix=prefix)
        self.init_scale = check_scale(init_scale)
        self.conditionals = dict(conditionals or {})
        for name, conditional in self.conditionals.items():
            if not callable(conditional):
                raise GuideError(
                    f"the conditional of {name!r} is {conditional!r}, but must be a function of the prior and of the values "
                    "before it: lambda prior, values: dist.Normal(…)."
                )

    def laid_out(self, places: Mapping[str, Place]) -> None:
        for name in self.conditionals:
            if name not in places:
                raise GuideError(
                    f"`conditionals` names {name!r}, and the model's latent sites are {', '.join(map(repr, places))}."
                )

    def conditional(self, site: Sample, before: Trace, outer: tuple[Frame, ...]) -> Sample | None:
        given = self.conditionals.get(site.name)
        return None if given is None else asked(given, site, before, outer)

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        loc, scale = (place.present(part, site) for part in self._parameters(place))
        base = dist.Normal(loc, scale, validate_args=False)
        return local_site(site, place, base.to_event(len(place.free_shape) - place.batch), onto, outer)

    def _parameters(self, place: Place) -> tuple[Tensor, Tensor]:
        loc = self.parameter(f"loc.{place.name}", lambda: place.start.clone())
        scale = self.parameter(
            f"scale.{place.name}", lambda: torch.full_like(place.start, self.init_scale), constraints.positive
        )
        return loc, scale

    def quantile_points(self, levels: Tensor) -> Mapping[str, Tensor]:
        if self.conditionals:
            raise GuideError("conditionals have no quantiles in closed form: use those of draws, `svi.sample(1000)`.")
        points = {}
        for name, place in self.places.items():
            loc, scale = self._parameters(place)
            z = torch.special.ndtri(levels).reshape(-1, *[1] * loc.dim())
            points[name] = loc.double() + z * scale.double()
        return points


def local_site(site: Sample, place: Place, base: Any, onto: Any, outer: tuple[Frame, ...]) -> Sample:
    """The guide's site with the distribution `base` in unconstrained coordinates, in the plates of the model's site."""
    plates = join_plates(outer, site.plates)
    fn = base if is_identity(onto) else Pushforward(base, onto, site.fn.event_shape)
    return fit_to_plates(
        Sample(
            name=site.name,
            fn=fn,
            plates=plates,
            scale=plate_scale(plates),
            mask=site.mask,
            infer={IN_SUPPORT: True},
            generator=site.generator,
            where=site.where,
        )
    )


def check_scale(scale: float) -> float:
    """Validate an initial scale.

    Raises:
        GuideError: it is not positive.
    """
    return real_number("init_scale", scale, GuideError, "0.1 is usual", above=0)
