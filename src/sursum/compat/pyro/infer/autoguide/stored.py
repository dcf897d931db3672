"""sursum's guides with their parameters in the global store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.distributions import constraints

from sursum.compat.pyro.primitives import param
from sursum.infer import autoguide as ours


class Stored:
    """A guide of sursum's whose parameters are the store's."""

    prefix: str
    renamed: ClassVar[Mapping[str, str]] = {}

    def parameter(
        self, name: str, initial: Callable[[], Tensor], constraint: constraints.Constraint = constraints.real
    ) -> Tensor:
        first, dot, rest = name.partition(".")
        begin = f"{self.prefix}." if self.prefix else ""
        return param(f"{begin}{self.renamed.get(first, first)}{dot}{rest}", initial, constraint)


class _Normal(Stored, ours.AutoNormal):
    renamed: ClassVar[Mapping[str, str]] = {"loc": "locs", "scale": "scales"}


class _Delta(Stored, ours.AutoDelta):
    """Its parameters are the values themselves, on their supports."""

    def parameter(
        self, name: str, initial: Callable[[], Tensor], constraint: constraints.Constraint = constraints.real
    ) -> Tensor:
        place = self.places[name.removeprefix("loc.")]
        support = place.site.fn.support
        if constraints.is_dependent(support) or place.onto is None or _is_open(place):
            return param(f"{self.prefix}.{place.name}", initial)
        value = param(f"{self.prefix}.{place.name}", lambda: place.onto(initial()), support)
        free: Tensor = place.onto.inv(value)
        return free


def _is_open(place: Any) -> bool:
    """Whether the support of a site depends on other sites: then its parameter is unconstrained."""
    support = place.site.fn.support
    bounds = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    return any(isinstance(bound, Tensor) for bound in bounds)


class _Diagonal(Stored, ours.AutoDiagonalNormal):
    pass


class _Full(Stored, ours.AutoMultivariateNormal):
    pass


class _LowRank(Stored, ours.AutoLowRankMultivariateNormal):
    pass


class _Laplace(Stored, ours.AutoLaplaceApproximation):
    pass


class _Flow(Stored, ours.AutoNormalizingFlow):
    pass


class _IAF(Stored, ours.AutoIAFNormal):
    pass


class _Messenger(Stored, ours.AutoNormal):
    """Each site by the `get_posterior` of its owner."""

    renamed: ClassVar[Mapping[str, str]] = {"loc": "locs", "scale": "scales", "weight": "weights"}
    owner: Any = None

    def conditional(self, site: Any, before: Any, outer: Any) -> Any:
        self.owner.__dict__.update(trace=before, _at=site)
        self.conditionals = {site.name: lambda prior, values: self.owner.get_posterior(site.name, prior)}
        return super().conditional(site, before, outer)


class _Structured(Stored, ours.AutoStructured):
    renamed: ClassVar[Mapping[str, str]] = {"loc": "locs", "scale": "scales"}


class _Gaussian(Stored, ours.AutoGaussian):
    renamed: ClassVar[Mapping[str, str]] = {"loc": "locs", "scale": "scales", "white": "white_vecs", "root": "prec_sqrts"}


class _List(ours.AutoGuideList):
    pass
