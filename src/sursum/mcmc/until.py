"""When a run may end before `num_samples`: conditions on its draws and on time, combined by `&` and `|`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.patterns import matches, suggestion
from sursum.common.settings import check_setting, real_number
from sursum.draws.ess_rhat import Mixing, mixing
from sursum.errors import SamplingError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a run: minutes since it began, and the draws of q, (chain, draw, n); None before there are enough."""

    minutes: float
    draws: Array | None = None
    coordinates: Sequence[str] = ()

    @cached_property
    def mixing(self) -> Mixing | None:
        return None if self.draws is None else mixing(self.draws)

    def of(self, numbers: Array, sites: Sequence[str] | None) -> Array:
        """Those numbers, one for each coordinate, that belong to some sites."""
        if sites is None:
            return numbers
        names = [name.partition("[")[0] for name in self.coordinates]
        return numbers[[any(matches(pattern, name) for pattern in sites) for name in names]]


class Until(ABC):
    """A condition on which a run ends. `a & b` is both, `a | b` is either; `&` binds more strongly.

    Example:
        >>> ess(400) & rhat(1.01) | minutes(10)
        ess(400) & rhat(1.01) | minutes(10)
    """

    @abstractmethod
    def factor(self, seen: Seen) -> float:
        """About how many times as many draws it takes: at most 1 where the condition holds, ∞ where that is unknown."""

    @abstractmethod
    def check(self, coordinates: Sequence[str]) -> None:
        """Raise SamplingError where it names a site that does not exist."""

    def __and__(self, other: Until) -> Until:
        return Both(self, other) if isinstance(other, Until) else NotImplemented

    def __or__(self, other: Until) -> Until:
        return Either(self, other) if isinstance(other, Until) else NotImplemented


@dataclass(frozen=True, repr=False)
class _TwoConditions(Until):
    """Two conditions."""

    first: Until
    second: Until

    def check(self, coordinates: Sequence[str]) -> None:
        self.first.check(coordinates)
        self.second.check(coordinates)


@dataclass(frozen=True, repr=False)
class Both(_TwoConditions):
    """Two conditions that must both hold."""

    def factor(self, seen: Seen) -> float:
        return max(self.first.factor(seen), self.second.factor(seen))

    def __repr__(self) -> str:
        return " & ".join(f"({part!r})" if isinstance(part, Either) else repr(part) for part in (self.first, self.second))


@dataclass(frozen=True, repr=False)
class Either(_TwoConditions):
    """Two conditions of which one is enough."""

    def factor(self, seen: Seen) -> float:
        return min(self.first.factor(seen), self.second.factor(seen))

    def __repr__(self) -> str:
        return f"{self.first!r} | {self.second!r}"


@dataclass(frozen=True, repr=False)
class ess(Until):
    """The smallest effective sample size, of bulk and tails and of all chains together, is at least this.

    It is that of the unconstrained coordinates, which for a site with bounds of its own is that of the site.

    Args:
        size: above 0; 400 is usual.
        sites: names of sites, or patterns, that count; None counts all.

    Raises:
        SamplingError: a size or sites of another kind.

    Example:
        >>> ess(400, sites=["tau"])
        ess(400, sites=['tau'])
    """

    size: float
    sites: Sequence[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_number("ess", self.size, 0.0, "400 is usual")
        _check_sites(self.sites)

    def factor(self, seen: Seen) -> float:
        if seen.mixing is None:
            return math.inf
        sizes = seen.of(np.minimum(seen.mixing.ess_bulk, seen.mixing.ess_tail), self.sites)
        return _factor(self.size / sizes)

    def check(self, coordinates: Sequence[str]) -> None:
        _check_known(self.sites, coordinates)

    def __repr__(self) -> str:
        return f"ess({self.size:g}{_sites_text(self.sites)})"


@dataclass(frozen=True, repr=False)
class rhat(Until):
    """The largest R-hat is at most this. It takes two chains or more.

    Args:
        limit: above 1; 1.01 is usual.
        sites: names of sites, or patterns, that count; None counts all.

    Raises:
        SamplingError: a limit or sites of another kind.

    Example:
        >>> rhat(1.01)
        rhat(1.01)
    """

    limit: float
    sites: Sequence[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_number("rhat", self.limit, 1.0, "1.01 is usual")
        _check_sites(self.sites)

    def factor(self, seen: Seen) -> float:
        if seen.mixing is None:
            return math.inf
        # Its distance from 1 falls with the number of draws.
        return _factor((seen.of(seen.mixing.r_hat, self.sites) - 1.0) / (self.limit - 1.0))

    def check(self, coordinates: Sequence[str]) -> None:
        _check_known(self.sites, coordinates)

    def __repr__(self) -> str:
        return f"rhat({self.limit:g}{_sites_text(self.sites)})"


@dataclass(frozen=True, repr=False)
class minutes(Until):
    """This many minutes have passed since the chains started, the warm-up included.

    Raises:
        SamplingError: not a positive number.

    Example:
        >>> minutes(0.5)
        minutes(0.5)
    """

    time: float

    def __post_init__(self) -> None:
        _check_number("minutes", self.time, 0.0, "10 are ten minutes")

    def factor(self, seen: Seen) -> float:
        return 1.0 if seen.minutes >= self.time else math.inf

    def check(self, coordinates: Sequence[str]) -> None: ...

    def __repr__(self) -> str:
        return f"minutes({self.time:g})"


def _factor(ratios: Array) -> float:
    """The largest of the ratios; those that are undefined hold nobody up unless all are: a site may be constant."""
    known = ratios[~np.isnan(ratios)]
    return float(known.max()) if known.size else math.inf


def _check_number(name: str, value: Any, above: float, remedy: str) -> None:
    real_number(name, value, SamplingError, remedy, above=above)


def _check_sites(sites: object) -> None:
    names = sites is None or (
        isinstance(sites, Sequence) and not isinstance(sites, str) and all(isinstance(name, str) for name in sites)
    )
    check_setting("sites", names, sites, "a sequence of names of sites", SamplingError, "give a list, such as ['mu']")


def _check_known(sites: Sequence[str] | None, coordinates: Sequence[str]) -> None:
    known = dict.fromkeys(name.partition("[")[0] for name in coordinates)
    for pattern in sites or ():
        if not any(matches(pattern, name) for name in known):
            raise SamplingError(f"`until` names {pattern!r}, which is not a latent site.{suggestion(pattern, known)}")


def _sites_text(sites: Sequence[str] | None) -> str:
    return "" if sites is None else f", sites={list(sites)}"
