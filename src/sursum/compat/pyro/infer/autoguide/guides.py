"""Pyro's automatic guides: independent sites, all coordinates at once, points, lists, and discrete sites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import sursum as su
from sursum.compat.pyro.infer.autoguide.base import AutoGuide, Started
from sursum.compat.pyro.infer.autoguide.initialization import by_default
from sursum.compat.pyro.infer.autoguide.stored import (
    _IAF,
    _Delta,
    _Diagonal,
    _Flow,
    _Full,
    _Laplace,
    _List,
    _LowRank,
    _Normal,
)
from sursum.compat.pyro.plates import plate
from sursum.compat.pyro.primitives import param, sample
from sursum.compat.pyro.running import as_program
from sursum.compat.pyro.store import STORE
from sursum.errors import GuideError


class AutoDelta(Started):
    """A point for every site; its parameters are ``AutoDelta.<site>``."""

    kind = _Delta


class AutoNormal(Started):
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
        return namespace(f"{self.prefix}.locs.")

    @property
    def scales(self) -> SimpleNamespace:
        """The scales, by site."""
        return namespace(f"{self.prefix}.scales.")


def namespace(begin: str) -> SimpleNamespace:
    return SimpleNamespace(**{name.removeprefix(begin): STORE[name] for name in STORE if name.startswith(begin)})


class AutoContinuous(Started):
    """The base of guides with one distribution over all unconstrained coordinates."""

    @property
    def latent_dim(self) -> int:
        """The number of unconstrained coordinates."""
        return int(self.sursum.dim)

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        """The distribution of all unconstrained coordinates."""
        self._set_up(args, kwargs)
        return self.sursum.posterior()

    def get_base_dist(self) -> Any:
        """The standard normal distribution whose draws `get_transform` maps to all unconstrained coordinates."""
        return su.distributions.Normal(torch.zeros(self.latent_dim), 1.0).to_event(1)

    def get_transform(self, *args: Any, **kwargs: Any) -> Any:
        """The bijection from standard normal noise to all unconstrained coordinates.

        Raises:
            GuideError: the guide's draws are none of as many normal numbers.
        """
        self._set_up(args, kwargs)
        onto = getattr(self.sursum.posterior(), "onto", None)
        if onto is None:
            raise GuideError(f"the draws of this {type(self).__name__} are not a bijection of as many normal numbers.")
        return onto

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


class AutoDiscreteParallel(AutoGuide):
    """Independent distributions of discrete sites, for `TraceEnum_ELBO`, which averages over them.

    The parameters are ``AutoDiscreteParallel.<site>_probs``, and start at the prior's probabilities.

    Raises:
        GuideError: from the first call, for a site that is not Bernoulli, Categorical or OneHotCategorical, or that is in a
            subsampled plate or a sequential one.
    """

    def __init__(self, model: Callable[..., Any], *, create_plates: Any = None) -> None:
        nn.Module.__init__(self)
        self.__dict__["model"] = model
        self.__dict__["sursum"] = self._draw
        self.__dict__["_sites"] = {}

    @property
    def prefix(self) -> str:
        return type(self).__name__

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        return self._draw(*args, **kwargs)

    def _draw(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        sites: dict[str, Any] = self.__dict__["_sites"]
        if not sites:
            with torch.no_grad(), su.block():
                found = su.trace(as_program(self.model)).get_trace(*args, **kwargs).stochastic
            sites |= {name: _discrete(site) for name, site in found.items() if not site.infer.get("is_subsample")}
        drawn = {}
        for name, site in sites.items():
            start = site.fn.probs.detach().clone()
            probs = param(f"{self.prefix}.{name}_probs", start, constraint=site.fn.arg_constraints["probs"])
            with ExitStack() as stack:
                for frame in site.plates:
                    stack.enter_context(plate(frame.name, frame.size, dim=frame.dim))
                drawn[name] = sample(name, type(site.fn)(probs=probs), infer={"enumerate": "parallel"})
        return drawn


def _discrete(site: Any) -> Any:
    """A latent site that `AutoDiscreteParallel` has a distribution for."""
    if not isinstance(site.fn, (su.distributions.Bernoulli, su.distributions.Categorical, su.distributions.OneHotCategorical)):
        raise GuideError(
            f"latent site {site}, a {type(site.fn).__name__}, is not one of AutoDiscreteParallel's: Bernoulli, Categorical or "
            "OneHotCategorical. Hide it, poutine.block(model, hide=[…]), and give it a guide of its own in an AutoGuideList."
        )
    if any(frame.dim is None or frame.indices is not None for frame in site.plates):
        raise GuideError(
            f"latent site {site} is in a subsampled plate or a sequential one, in which AutoDiscreteParallel has no "
            "distributions for it. Leave it out of the guide: TraceEnum_ELBO sums it out of the model."
        )
    return site


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
