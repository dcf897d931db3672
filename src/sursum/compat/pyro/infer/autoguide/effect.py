"""Pyro's guides by `get_posterior`: a distribution for each site, given its prior and what the sites before it are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions import AffineTransform, constraints

import sursum as su
from sursum.compat.pyro.infer.autoguide.base import AutoGuide
from sursum.compat.pyro.infer.autoguide.initialization import by_mean
from sursum.compat.pyro.infer.autoguide.stored import _Messenger
from sursum.compat.pyro.store import STORE
from sursum.distributions import Normal, TransformedDistribution
from sursum.errors import GuideError

KINDS = "locs", "scales", "weights"


class AutoMessenger(AutoGuide):
    """The base of guides that run the model, and ask `get_posterior` for the distribution of each latent site.

    Args:
        model: the program.
        amortized_plates: the names of plates whose elements share their parameters.

    Example:
        >>> import torch, sursum.compat.pyro as pyro, sursum.compat.pyro.distributions as dist
        >>> pyro.clear_param_store()
        >>> def model():
        ...     z = pyro.sample("z", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        >>> class Following(AutoNormalMessenger):
        ...     def get_posterior(self, name, prior):
        ...         if name == "z":
        ...             weight = pyro.param("weight", torch.tensor(0.5))
        ...             return dist.Normal(weight * self.upstream_value("mu"), 1.0)
        ...         return super().get_posterior(name, prior)
        >>> drawn = Following(model)()
        >>> list(drawn), list(pyro.get_param_store())
        (['mu', 'z'], ['locs.mu', 'scales.mu', 'weight'])
    """

    kind = _Messenger
    trace: Any

    def __init__(self, model: Callable[..., Any], *, amortized_plates: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(model, **settings)
        self.sursum.owner, self.sursum.prefix = self, ""
        self.__dict__["amortized_plates"] = tuple(amortized_plates)
        self.__dict__["args_kwargs"] = ((), {})

    amortized_plates: tuple[str, ...]
    args_kwargs: tuple[tuple[Any, ...], dict[str, Any]]

    def named_parameters(  # type: ignore[override]
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The guide's leaves in the store, which are there without a prefix, as Pyro has them; none before its first call."""
        own = f"{self.prefix}." if self.prefix else ""
        for name, leaf in list(STORE.leaves.items()):
            kind, _, site = name.removeprefix(own).partition(".")
            if name.startswith(own) and kind in KINDS and site in self.sursum.places:
                yield f"{prefix}{'.' if prefix else ''}{name.removeprefix(own)}", leaf

    def get_posterior(self, name: str, prior: Any) -> Any:
        """The distribution of a site, on its support, or a tensor for a point; called inside the plates of the site.

        Args:
            name: of the site.
            prior: its distribution in the model, at the draws of the sites before it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_posterior.")

    def upstream_value(self, name: str) -> Any:
        """The value of a site before the one that `get_posterior` is asked for."""
        return self.trace[name].value

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent site.

        Returns:
            The values by name, those of observed and deterministic sites as well.
        """
        self.__dict__["args_kwargs"] = args, kwargs
        super().forward(*args, **kwargs)
        kinds = su.handlers.Sample, su.handlers.Deterministic
        found = {name: site for name, site in self.trace.items() if isinstance(site, kinds)}
        return {name: site.value for name, site in found.items() if not getattr(site, "infer", {}).get("is_subsample")}

    def parameter(
        self, kind: str, name: str, start: Callable[[Tensor], Tensor], constraint: constraints.Constraint = constraints.real
    ) -> Tensor:
        """A parameter of a site: one for each element of its plates, but of the amortised ones one for all."""
        guide = self.sursum
        place, site = guide.places[name], self.__dict__["_at"]

        def initial() -> Tensor:
            value = start(place.start)
            if not value.dim():
                return value
            for frame in site.plates:
                if frame.name in self.amortized_plates:
                    value = value.mean(place.batch + frame.dim, keepdim=True)
            while value.dim() > len(place.free_shape) - place.batch and value.shape[0] == 1:
                value = value.squeeze(0)
            return value

        value: Tensor = guide.parameter(f"{kind}.{name}", initial, constraint)
        for frame in site.plates if value.dim() else ():
            if frame.indices is not None and frame.name not in self.amortized_plates:
                value = value.index_select(frame.dim - len(place.free_shape) + place.batch, frame.indices)
        return value

    def onto(self, prior: Any) -> Any:
        """The bijection onto the support of the site that is asked for."""
        return self.sursum.onto(self.__dict__["_at"])

    def _normal(self, name: str, prior: Any, loc: Tensor, scale: Tensor) -> Any:
        place = self.sursum.places[name]
        base = Normal(loc, scale).to_event(len(place.free_shape) - place.batch)
        onto = self.onto(prior)
        return TransformedDistribution(base, [onto.with_cache(1)])


class AutoNormalMessenger(AutoMessenger):
    """A normal distribution for every unconstrained coordinate; `get_posterior` may be overridden for some sites.

    Args:
        init_loc_fn: where the means start.
        init_scale: the initial standard deviation.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_mean,
        init_scale: float = 0.1,
        amortized_plates: Sequence[str] = (),
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, amortized_plates=amortized_plates)
        self.__dict__["_median"] = False

    def get_posterior(self, name: str, prior: Any) -> Any:
        loc, scale = self._get_params(name, prior)[:2]
        return self.onto(prior)(loc) if self.__dict__["_median"] else self._normal(name, prior, loc, scale)

    def _get_params(self, name: str, prior: Any) -> tuple[Tensor, ...]:
        init_scale: float = self.sursum.init_scale
        loc = self.parameter("loc", name, torch.clone)
        scale = self.parameter("scale", name, lambda start: torch.full_like(start, init_scale), constraints.positive)
        return loc, scale

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The median of every site, given the medians of the sites before it."""
        with self._at_median(), torch.no_grad(), su.block():
            return self.forward(*args, **kwargs)

    @contextmanager
    def _at_median(self) -> Iterator[None]:
        self.__dict__["_median"] = True
        try:
            yield
        finally:
            self.__dict__["_median"] = False


class AutoHierarchicalNormalMessenger(AutoNormalMessenger):
    """Normal distributions whose means follow the priors, given what a site's parents are.

    Args:
        init_weight: the initial weight of the prior's mean.
        hierarchical_sites: the sites that follow their priors; all if left out.
    """

    weight_type = "element-wise"

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_mean,
        init_scale: float = 0.1,
        amortized_plates: Sequence[str] = (),
        init_weight: float = 1.0,
        hierarchical_sites: Sequence[str] | None = None,
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, amortized_plates=amortized_plates)
        self.__dict__["_init_weight"] = init_weight
        self.__dict__["_hierarchical_sites"] = hierarchical_sites

    def get_posterior(self, name: str, prior: Any) -> Any:
        sites = self.__dict__["_hierarchical_sites"]
        if sites is not None and name not in sites:
            return super().get_posterior(name, prior)
        loc, scale, weight = self._get_params(name, prior)
        loc = loc + self.onto(prior).inv(prior.mean) * weight
        return self.onto(prior)(loc) if self.__dict__["_median"] else self._normal(name, prior, loc, scale)

    def _get_params(self, name: str, prior: Any) -> tuple[Tensor, ...]:
        sites, first = self.__dict__["_hierarchical_sites"], self.__dict__["_init_weight"]
        if sites is not None and name not in sites:
            return super()._get_params(name, prior)
        scalar = self.weight_type == "scalar"
        full = lambda start: start.new_full((), first) if scalar else torch.full_like(start, first)
        weight = self.parameter("weight", name, full, constraints.positive)
        if not bool(torch.isfinite(prior.mean.detach()).all()):
            raise GuideError(
                f"the prior of latent site {name!r} has no mean to follow. Name those that have one: hierarchical_sites=[…]."
            )
        whole = self.onto(prior).inv(prior.mean).detach()
        loc = self.parameter("loc", name, lambda start: start - first * _as_wide(whole, start))
        return loc, super()._get_params(name, prior)[1], weight


class AutoRegressiveMessenger(AutoMessenger):
    """Priors, shifted and scaled in unconstrained coordinates.

    Args:
        init_loc_fn, init_scale: it starts around `init_loc_fn`, at `init_scale` times the prior's width.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_mean,
        init_scale: float = 0.1,
        amortized_plates: Sequence[str] = (),
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, amortized_plates=amortized_plates)

    def get_posterior(self, name: str, prior: Any) -> Any:
        first: float = self.sursum.init_scale
        loc = self.parameter("loc", name, lambda start: start * (1.0 - first))
        scale = self.parameter("scale", name, lambda start: torch.full_like(start, first), constraints.positive)
        place, onto = self.sursum.places[name], self.onto(prior)
        moved = AffineTransform(loc, scale, event_dim=len(place.free_shape) - place.batch, cache_size=1)
        return TransformedDistribution(prior, [onto.inv.with_cache(1), moved, onto.with_cache(1)])


def _as_wide(present: Tensor, start: Tensor) -> Tensor:
    """A tensor of the elements that are present as one of all: their average, where a plate has only some."""
    for dim in range(-present.dim(), 0):
        if present.shape[dim] not in (1, start.shape[dim]):
            present = present.mean(dim, keepdim=True)
    return present.expand(start.shape)
