"""`AutoHierarchicalNormal` and `AutoRegressive`: guides whose sites follow the priors that their parents' draws give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import AffineTransform, ComposeTransform, constraints

from sursum import distributions as dist
from sursum.common.settings import real_number
from sursum.core.messages import Frame, Sample, Step
from sursum.density.unconstrain import is_identity
from sursum.errors import GuideError
from sursum.handlers import ParamStore
from sursum.vi.autoguide.guide import Place
from sursum.vi.autoguide.init import InitLoc
from sursum.vi.autoguide.normal import AutoNormal, local_site
from sursum.vi.pushforward import Pushforward


class _Following(AutoNormal):
    """A guide that is run in the order of the model, so that each site sees what its parents' draws make of its prior."""

    def placed(self, site: Sample, steps: tuple[Step, ...]) -> Place:
        if steps:
            raise GuideError(
                f"latent site {site} is in a scan, whose steps automatic guides draw at once, before the prior of a step is "
                "known. Use AutoNormal for it, or write the guide by hand."
            )
        return super().placed(site, steps)

    def quantiles(self, params: ParamStore, levels: Sequence[float]) -> dict[str, Tensor]:
        raise GuideError(
            f"{type(self).__name__} has no marginal quantiles in closed form, since its sites depend on each other. Take "
            "those of draws: svi.sample(1000)."
        )

    def median(self, params: ParamStore) -> dict[str, Tensor]:
        return self.quantiles(params, [0.5])


class AutoHierarchicalNormal(_Following):
    r"""Normal distributions whose means follow the priors: of each site, given what its parents are.

    .. math:: q(u_i \mid u_{pa(i)}) = N\bigl(\mu_i + w_i\, T_i^{-1}(E_p[z_i \mid z_{pa(i)}]),\; \sigma_i\bigr)

    in unconstrained coordinates :math:`u_i = T_i^{-1}(z_i)`, where E is the prior's mean at the draws of the sites before it.
    With w = 0 it is `AutoNormal`. The parameters of a site ``s`` are ``auto.loc.s``, ``auto.scale.s`` and ``auto.weight.s``,
    which is positive.

    Args:
        model: the program.
        sites: the sites that follow their priors; None is all. The others are as in `AutoNormal`.
        init_loc_fn: where sites start; see `AutoGuide`.
        init_scale: the initial standard deviation, above 0.
        init_weight: the initial w, above 0.
        prefix: prefix of the parameters' names.

    Raises:
        GuideError: a site in a scan, or whose prior has no mean.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model():
        ...     z = su.sample("z", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        ...     su.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoHierarchicalNormal(model), su.optim.Adam(lr=0.05), seed=0)
        >>> result = svi.run(1500)
        >>> abs(float(svi.params["auto.weight.z"].detach()) - 0.5) < 0.1
        True
    """

    def __init__(
        self,
        model: Any,
        *,
        sites: Collection[str] | None = None,
        init_loc_fn: InitLoc | None = None,
        init_scale: float = 0.1,
        init_weight: float = 1.0,
        prefix: str = "auto",
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, prefix=prefix)
        if isinstance(sites, str):
            raise GuideError(f"`sites` is {sites!r}, but must be a list of names: [{sites!r}].")
        self.sites = None if sites is None else frozenset(sites)
        self.init_weight = real_number("init_weight", init_weight, GuideError, "1 is usual", above=0)

    def laid_out(self, places: Mapping[str, Place]) -> None:
        super().laid_out(places)
        unknown = sorted((self.sites or frozenset()) - places.keys())
        if unknown:
            raise GuideError(f"`sites` names {unknown[0]!r}, and the model's latent sites are {', '.join(map(repr, places))}.")
        for name, place in places.items():
            if self.sites is None or name in self.sites:
                _check_mean(place.site)

    def _start(self, place: Place) -> Tensor:
        return place.start - self.init_weight * _whole(_prior_mean(place.site, place.onto), place)

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        if self.sites is not None and place.name not in self.sites:
            return super().draw(place, site, onto, begun, outer)
        name = place.name
        weight = self.parameter(f"weight.{name}", lambda: torch.full_like(place.start, self.init_weight), constraints.positive)
        loc = self.parameter(f"loc.{name}", lambda: self._start(place))
        scale = self.parameter(f"scale.{name}", lambda: torch.full_like(place.start, self.init_scale), constraints.positive)
        loc, scale, weight = (place.present(part, site) for part in (loc, scale, weight))
        base = dist.Normal(loc + weight * _prior_mean(site, onto), scale, validate_args=False)
        return local_site(site, place, base.to_event(len(place.free_shape) - place.batch), onto, outer)


class AutoRegressive(_Following):
    r"""Priors, shifted and scaled in unconstrained coordinates, given what the sites before are.

    .. math:: u_i = \mu_i + \sigma_i\, T_i^{-1}(\zeta_i), \qquad \zeta_i \sim p(z_i \mid z_{pa(i)})

    With μ = 0 and σ = 1 it is the prior, where it starts. The parameters of a site ``s`` are ``auto.loc.s`` and
    ``auto.scale.s``.

    Args:
        model: the program.
        prefix: prefix of the parameters' names.

    Raises:
        GuideError: a site in a scan, or whose prior's draws cannot be differentiated.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))
        >>> svi = su.infer.SVI(model, AutoRegressive(model), su.optim.Adam(lr=0.05), seed=0)
        >>> result = svi.run(1000)
        >>> abs(float(svi.params["auto.scale.z"].detach()) - 0.5**0.5) < 0.1
        True
    """

    def __init__(self, model: Any, *, prefix: str = "auto") -> None:
        super().__init__(model, prefix=prefix)

    def draw(self, place: Place, site: Sample, onto: Any, begun: Mapping[str, Tensor], outer: tuple[Frame, ...]) -> Sample:
        if not site.fn.has_rsample:
            raise GuideError(
                f"draws of the prior of latent site {site} cannot be differentiated, so that AutoRegressive cannot move them. "
                "Use AutoNormal."
            )
        loc = self.parameter(f"loc.{place.name}", lambda: torch.zeros_like(place.start))
        scale = self.parameter(f"scale.{place.name}", lambda: torch.ones_like(place.start), constraints.positive)
        loc, scale = (place.present(part, site) for part in (loc, scale))
        events = len(place.free_shape) - place.batch
        moved = AffineTransform(loc, scale, event_dim=events)
        steps = [moved] if is_identity(onto) else [onto.inv, moved]
        base = Pushforward(site.fn, ComposeTransform(steps) if len(steps) > 1 else moved, place.free_shape[place.batch :])
        return local_site(site, place, base, onto, outer)


def _prior_mean(site: Sample, onto: Any) -> Tensor:
    """The mean of a site's prior in unconstrained coordinates."""
    free: Tensor = onto.inv(site.fn.mean)
    return free


def _check_mean(site: Sample) -> None:
    try:
        mean = site.fn.mean
    except (NotImplementedError, AttributeError):
        mean = None
    if mean is None or not bool(torch.isfinite(mean.detach()).all()):
        raise GuideError(
            f"the prior of latent site {site}, a {type(site.fn).__name__}, has no mean for AutoHierarchicalNormal to "
            "follow. Name the sites that have one: AutoHierarchicalNormal(model, sites=[…])."
        )


def _whole(free: Tensor, place: Place) -> Tensor:
    """A tensor of the present elements as one of all: their average, where a plate has only some."""
    free = free.detach()
    for dim in range(-free.dim(), 0):
        if free.shape[dim] != place.free_shape[dim]:
            free = free.mean(dim, keepdim=True)
    return free.expand(place.free_shape)
