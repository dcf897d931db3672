"""Automatic guides with Pyro's surface: modules whose parameters are in the global store, under Pyro's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import sursum as su
from sursum.compat.pyro.infer.autoguide.initialization import by_default
from sursum.compat.pyro.infer.autoguide.stored import (
    _IAF,
    _Delta,
    _Diagonal,
    _Flow,
    _Full,
    _Hierarchical,
    _Laplace,
    _List,
    _LowRank,
    _Normal,
    _Regressive,
    _Structured,
)
from sursum.compat.pyro.running import as_program
from sursum.compat.pyro.store import STORE
from sursum.errors import GuideError


class AutoGuide(nn.Module):
    """The base of the guides here: called like the model, it draws every latent site.

    Args:
        model: the program.
        create_plates: has no use: plates are the model's own.
    """

    kind: ClassVar[Any] = None

    def __init__(self, model: Callable[..., Any], *, create_plates: Any = None, **settings: Any) -> None:
        super().__init__()
        if not callable(model):
            raise GuideError(f"`model` is {model!r}, but must be a program: a callable.")
        # Not an attribute of the module, of which the model's networks would become a part.
        self.__dict__["model"] = model
        if self.kind is None:
            raise GuideError(f"{type(self).__name__} is a base class: write AutoNormal(model), say.")
        self.__dict__["sursum"] = self.kind(as_program(self._shown(model)), prefix=type(self).__name__, **settings)

    def _shown(self, model: Callable[..., Any]) -> Callable[..., Any]:
        """The model without the sites that it did not have at first: data that are to be predicted are not the guide's."""

        def later(site: Any) -> bool:
            places = self.sursum.places
            latent = isinstance(site, su.handlers.Sample) and not site.is_observed and not site.infer.get("is_subsample")
            return bool(places) and latent and site.name not in places

        return su.block(model, hide_fn=later)

    model: Callable[..., Any]
    sursum: Any

    @property
    def prefix(self) -> str:
        return str(self.sursum.prefix)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent site; the values by name."""
        if not args and not kwargs:
            args, kwargs = self.__dict__.get("_first", ((), {}))
        drawn: dict[str, Tensor] = self.sursum(*args, **kwargs)
        self.__dict__.setdefault("_first", (args, kwargs))
        return drawn

    def named_parameters(  # type: ignore[override]
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The guide's leaves in the store; none before its first call."""
        begin = f"{self.prefix}."
        for name, leaf in list(STORE.leaves.items()):
            if name.startswith(begin):
                yield f"{prefix}{'.' if prefix else ''}{name.removeprefix(begin)}", leaf

    def _set_up(self, args: Any, kwargs: Any) -> None:
        if not self.sursum.places:
            self.sursum.set_up(args, kwargs)

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The median of every latent site, by name."""
        self._set_up(args, kwargs)
        found: dict[str, Tensor] = self.sursum.median(su.ParamStore())
        return found

    def quantiles(self, quantiles: Any, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Marginal quantiles of every latent site, (quantiles, *shape), by name."""
        self._set_up(args, kwargs)
        levels = [float(quantiles)] if isinstance(quantiles, float) else list(map(float, quantiles))
        found: dict[str, Tensor] = self.sursum.quantiles(su.ParamStore(), levels)
        return found

    def sample_posterior(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """One draw of every latent site."""
        with torch.no_grad(), su.block():
            return self.forward(*args, **kwargs)


class _Started(AutoGuide):
    """A guide that starts at a value of every site."""

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_default,
        create_plates: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, create_plates=create_plates, init_loc_fn=init_loc_fn, **settings)


class AutoDelta(_Started):
    """A point for every site; its parameters are ``AutoDelta.<site>``."""

    kind = _Delta


class AutoNormal(_Started):
    """Independent normal distributions; the parameters are ``AutoNormal.locs.<site>`` and ``AutoNormal.scales.<site>``."""

    kind = _Normal

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_default,
        init_scale: float = 0.1,
        create_plates: Any = None,
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, create_plates=create_plates, init_scale=init_scale)

    @property
    def locs(self) -> SimpleNamespace:
        """The locations, by site."""
        return _namespace(f"{self.prefix}.locs.")

    @property
    def scales(self) -> SimpleNamespace:
        """The scales, by site."""
        return _namespace(f"{self.prefix}.scales.")


class AutoNormalMessenger(AutoNormal):
    """A normal distribution for every unconstrained coordinate, drawn in the order of the model."""


class AutoHierarchicalNormalMessenger(AutoGuide):
    """Normal distributions whose means follow the priors, given what a site's parents are.

    Args:
        init_weight: the initial weight of the prior's mean.
        hierarchical_sites: the sites that follow their priors; all if left out.
    """

    kind = _Hierarchical

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        init_loc_fn: Callable[[Any], Any] = by_default,
        init_scale: float = 0.1,
        init_weight: float = 1.0,
        hierarchical_sites: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            model, init_loc_fn=init_loc_fn, init_scale=init_scale, init_weight=init_weight, sites=hierarchical_sites
        )


class AutoRegressiveMessenger(AutoGuide):
    """Priors, shifted and scaled in unconstrained coordinates; it starts at the prior."""

    kind = _Regressive


class AutoStructured(AutoGuide):
    """A distribution for each site, shifted by functions of the sites that it depends on.

    Args:
        conditionals: "delta", "normal" or "mvn", for all sites or by name.
        dependencies: "linear", by which each site depends on all before it, or by name the sites that a site depends on.
    """

    kind = _Structured

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        conditionals: str | Mapping[str, str] = "mvn",
        dependencies: str | Mapping[str, Mapping[str, Any]] = "linear",
        init_loc_fn: Callable[[Any], Any] = by_default,
        init_scale: float = 0.1,
        create_plates: Any = None,
    ) -> None:
        settings: dict[str, Any] = {"conditionals": conditionals, "dependencies": dependencies}
        super().__init__(model, create_plates=create_plates, init_loc_fn=init_loc_fn, init_scale=init_scale, **settings)


def _namespace(begin: str) -> SimpleNamespace:
    return SimpleNamespace(**{name.removeprefix(begin): STORE[name] for name in STORE if name.startswith(begin)})


class AutoContinuous(_Started):
    """The base of guides with one distribution over all unconstrained coordinates."""

    @property
    def latent_dim(self) -> int:
        """The number of unconstrained coordinates."""
        return int(self.sursum.dim)

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        """The distribution of all unconstrained coordinates."""
        self._set_up(args, kwargs)
        return self.sursum.posterior()

    def sample_latent(self, *args: Any, **kwargs: Any) -> Tensor:
        """A draw of all unconstrained coordinates."""
        drawn: Tensor = self.get_posterior(*args, **kwargs).rsample()
        return drawn

    @property
    def loc(self) -> Tensor:
        """The location of all unconstrained coordinates."""
        return STORE[f"{self.prefix}.loc"]


class _Scaled(AutoContinuous):
    def __init__(
        self,
        model: Callable[..., Any],
        init_loc_fn: Callable[[Any], Any] = by_default,
        init_scale: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn, init_scale=init_scale, **settings)

    @property
    def scale(self) -> Tensor:
        """The scales of all unconstrained coordinates."""
        return STORE[f"{self.prefix}.scale"]


class AutoDiagonalNormal(_Scaled):
    """A normal distribution with a diagonal covariance."""

    kind = _Diagonal

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        self._set_up(args, kwargs)
        loc, scale = self.sursum._parameters()
        return su.distributions.Normal(loc, scale).to_event(1)


class AutoMultivariateNormal(_Scaled):
    """A normal distribution with a full covariance."""

    kind = _Full

    @property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        factor: Tensor = self.sursum.scale_tril(su.ParamStore())
        return factor

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        self._set_up(args, kwargs)
        return self.sursum.posterior()


class AutoLowRankMultivariateNormal(_Scaled):
    """A normal distribution whose covariance is diagonal plus low rank."""

    kind = _LowRank

    def __init__(
        self,
        model: Callable[..., Any],
        init_loc_fn: Callable[[Any], Any] = by_default,
        init_scale: float = 0.1,
        rank: int | None = None,
    ) -> None:
        super().__init__(model, init_loc_fn, init_scale, rank=rank)

    @property
    def cov_factor(self) -> Tensor:
        return STORE[f"{self.prefix}.cov_factor"]


class AutoLaplaceApproximation(AutoContinuous):
    """A point, and after training the normal distribution of the curvature there."""

    kind = _Laplace

    def __init__(self, model: Callable[..., Any], init_loc_fn: Callable[[Any], Any] = by_default) -> None:
        super().__init__(model, init_loc_fn=init_loc_fn)

    def laplace_approximation(self, *args: Any, **kwargs: Any) -> Fixed:
        """The normal distribution around the mode, as a guide without parameters."""
        self._set_up(args, kwargs)
        held = su.ParamStore()
        with torch.no_grad(), held:
            self.sursum.posterior()
        return Fixed(self.model, self.sursum.laplace_approximation(held, *args, **kwargs))


class Fixed(AutoContinuous):
    """A guide that is given."""

    def __init__(self, model: Callable[..., Any], guide: Any) -> None:
        nn.Module.__init__(self)
        self.__dict__["model"] = model
        self.__dict__["sursum"] = guide

    @property
    def loc(self) -> Tensor:
        loc: Tensor = self.sursum._parameters()[0]
        return loc

    @property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        factor: Tensor = self.sursum.scale_tril(su.ParamStore())
        return factor

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        return su.distributions.MultivariateNormal(self.loc, scale_tril=self.scale_tril)


class AutoNormalizingFlow(AutoContinuous):
    """A normalising flow over all unconstrained coordinates.

    Args:
        init_transform_fn: a function from the number of coordinates to a flow of zuko's.
    """

    kind = _Flow

    def __init__(
        self, model: Callable[..., Any], init_transform_fn: Callable[[int], Any] | None = None, **settings: Any
    ) -> None:
        super().__init__(model, flow=init_transform_fn, **settings)


class AutoIAFNormal(AutoContinuous):
    """Inverse autoregressive flows over all unconstrained coordinates; their networks are zuko's.

    Args:
        hidden_dim: the width of the networks.
        num_transforms: how many flows.
    """

    kind = _IAF

    def __init__(
        self,
        model: Callable[..., Any],
        hidden_dim: int | None = None,
        init_loc_fn: Callable[[Any], Any] | None = None,
        num_transforms: int = 1,
    ) -> None:
        start = by_default if init_loc_fn is None else init_loc_fn
        super().__init__(model, init_loc_fn=start, num_transforms=num_transforms, hidden_dim=hidden_dim)


class AutoGuideList(AutoGuide):
    """Several guides, each for the sites that its own model shows."""

    kind = _List

    def __init__(self, model: Callable[..., Any], *, create_plates: Any = None) -> None:
        super().__init__(model, create_plates=create_plates)
        self.__dict__["parts"] = []

    parts: list[Any]

    def append(self, part: Any) -> None:
        """Add a guide."""
        self.sursum.append(part.sursum if isinstance(part, AutoGuide) else part)
        self.parts.append(part)

    def add(self, part: Any) -> None:
        """Another name of `append`."""
        self.append(part)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Any:
        return self.parts[index]


class AutoCallable(AutoGuide):
    """A guide of one's own as a part of an `AutoGuideList`.

    Args:
        model: the program.
        guide: a program that draws some of its latent sites.
        median: a function that gives their medians by name.
    """

    def __init__(
        self, model: Callable[..., Any], guide: Callable[..., Any], median: Callable[..., Mapping[str, Tensor]] | None = None
    ) -> None:
        nn.Module.__init__(self)
        self.__dict__["model"] = model
        self.__dict__["sursum"] = guide
        self.__dict__["_median"] = median

    @property
    def prefix(self) -> str:
        return "AutoCallable"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with su.trace() as drawn:
            result = self.sursum(*args, **kwargs)
        return {name: site.value for name, site in drawn.trace.stochastic.items()} if result is None else result

    def median(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        median = self.__dict__["_median"]
        return {} if median is None else dict(median(*args, **kwargs))


def mean_field_entropy(model: Callable[..., Any], args: Sequence[Any], whitelist: Sequence[str] | None = None) -> Tensor:
    """The sum of the entropies of the latent sites of a program at one draw."""
    trace = su.trace(as_program(model)).get_trace(*args)
    total = torch.zeros(())
    for name, site in trace.stochastic.items():
        if (whitelist is None or name in whitelist) and not site.infer.get("is_subsample"):
            total = total + site.fn.entropy().sum()
    return total
