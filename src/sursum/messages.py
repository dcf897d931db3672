"""Messages: what a program says when it reaches a site.

Four kinds, frozen: `Sample`, `Param`, `Deterministic`, `Factor`. A handler never writes into a message, it passes a
changed copy (`site.but(value=…)`) outwards and may change the copy that comes back. For readers who know the field's
message mappings, a message can be read like one: `site["type"]`, `site["value"]`, `site["fn"]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import unchecked
from sursum.errors import DensityError, SiteError


@dataclass(frozen=True, slots=True)
class Frame:
    """An open plate: `size` independent copies along `dim`, of which `indices` (all where None) are present.

    A sequential plate, used as an iterator, has no `dim`.
    """

    name: str
    dim: int | None
    size: int
    indices: Tensor | None = None

    @property
    def length(self) -> int:
        """How many of the copies are present."""
        return self.size if self.indices is None else len(self.indices)

    @property
    def scale(self) -> float:
        """What a log density is multiplied by so that the present copies stand for all."""
        return self.size / self.length if self.length else 1.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """What all four kinds have: a name, a value, the open plates, and the line of the program they come from."""

    type: ClassVar[str] = ""

    name: str
    value: Any = None
    plates: tuple[Frame, ...] = ()
    where: str | None = None

    def but(self, **changes: Any) -> Self:
        """This message with some fields changed."""
        return dataclasses.replace(self, **changes)

    def run(self) -> Self:
        """What happens at this site when no handler is left: the message with its value."""
        return self

    def __getitem__(self, key: str) -> Any:
        if key == "type" or key in self.__dataclass_fields__:
            return getattr(self, key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key == "type" or key in self.__dataclass_fields__

    def __iter__(self) -> Iterator[str]:
        return iter(("type", *self.__dataclass_fields__))

    def __str__(self) -> str:
        return f"{self.name!r} ({self.where})" if self.where else repr(self.name)


@dataclass(frozen=True, kw_only=True)
class Param(Site):
    """A parameter with a point estimate. `initial` is the program's own value, or a function that makes it.

    `frozen` marks a network's parameter that does not ask for gradients; `owner` is the network it belongs to.
    """

    type: ClassVar[str] = "param"

    initial: Tensor | Callable[[], Tensor] | None = None
    constraint: constraints.Constraint = constraints.real
    event_dim: int | None = None
    frozen: bool = False
    owner: Any = None
    generator: torch.Generator | None = None

    @property
    def init(self) -> Tensor | None:
        """The program's own value; a lazy one is made now."""
        if callable(self.initial) and not isinstance(self.initial, Tensor):
            with drawing_from(self.generator):
                return torch.as_tensor(self.initial())
        return self.initial

    def run(self) -> Self:
        if self.value is not None:
            return self
        value = self.init
        if value is None:
            raise SiteError(
                f"parameter {self} has no value: the program gives no initial value and no store holds one. "
                f"Write param({self.name!r}, init), or run the program inside a ParamStore that has it."
            )
        return self.but(value=value)


@dataclass(frozen=True, kw_only=True)
class Sample(Site):
    """A random value from `fn`, observed or not, and its share of the log density, `scale · mask · log fn(value)`.

    `param` is the parameter that was lifted to this site; `init` is where samplers and optimisers start.
    """

    type: ClassVar[str] = "sample"

    fn: Any
    is_observed: bool = False
    scale: Tensor | float = 1.0
    mask: Tensor | bool | None = None
    infer: Mapping[str, Any] = field(default_factory=dict)
    param: Param | None = None
    init: Tensor | None = None
    generator: torch.Generator | None = None

    def run(self) -> Self:
        if self.value is not None:
            return self
        with drawing_from(self.generator):
            if not isinstance(self.fn, Distribution):
                return self.but(value=self.fn())
            return self.but(value=self.fn.rsample() if self.fn.has_rsample else self.fn.sample())

    def log_prob(self) -> Tensor:
        """The log density of `value`, one element per batch element, scaled and masked.

        Arguments and values were checked when the program reached the site, so the distribution does not check again.
        """
        if not isinstance(self.fn, Distribution):
            raise DensityError(
                f"site {self} cannot be scored: its prior is a function that returns a tensor, which has no density. "
                "Return a Distribution from it."
            )
        value = self.value
        if isinstance(self.mask, Tensor) and self.is_observed:
            value = self._present(value)
        log_prob = unchecked(self.fn).log_prob(value)
        if self.mask is not None:
            mask = torch.as_tensor(self.mask, device=log_prob.device)
            log_prob = torch.where(mask, log_prob, torch.zeros((), dtype=log_prob.dtype, device=log_prob.device))
        if isinstance(self.scale, Tensor) or self.scale != 1.0:
            log_prob = log_prob * self.scale
        return log_prob

    def _present(self, value: Tensor) -> Tensor:
        """`value` with a harmless number where it is missing: a NaN there would reach the gradient through the mask."""
        mask = torch.as_tensor(self.mask)
        mask = mask.reshape(mask.shape + (1,) * len(self.fn.event_shape)).expand_as(value)
        if not value.is_floating_point() or mask.all():
            return value
        present = value[mask & torch.isfinite(value)]
        stand_in = present.flatten()[0] if present.numel() else torch.ones((), dtype=value.dtype)
        return torch.where(mask, value, stand_in)


@dataclass(frozen=True, kw_only=True)
class Deterministic(Site):
    """A named function of other sites, kept for the reader. `param` as in `Sample`: a lifted and reparameterised one."""

    type: ClassVar[str] = "deterministic"

    event_dim: int | None = None
    param: Param | None = None


@dataclass(frozen=True, kw_only=True)
class Factor(Site):
    """A term of the log density, `scale · mask · value`."""

    type: ClassVar[str] = "factor"

    scale: Tensor | float = 1.0
    mask: Tensor | bool | None = None

    is_observed: ClassVar[bool] = True

    def log_prob(self) -> Tensor:
        """The term, scaled and masked."""
        value: Tensor = self.value
        if self.mask is not None:
            value = torch.where(torch.as_tensor(self.mask), value, torch.zeros((), dtype=value.dtype))
        return value * self.scale if isinstance(self.scale, Tensor) or self.scale != 1.0 else value
