"""Messages: what a program sends when it reaches a site.

Four frozen types: `Sample`, `Param`, `Deterministic`, `Factor`. A handler never mutates a message: it passes a
changed copy (`site.but(value=…)`) outwards and may change the copy that comes back. For readers used to messages as
dictionaries, fields can also be read by key: `site["type"]`, `site["value"]`, `site["fn"]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import ComposeTransform, Distribution, Independent, IndependentTransform, Transform, constraints

from sursum.common.precision import score
from sursum.common.torch_private import InverseTransform
from sursum.distributions.matrices import drawable
from sursum.distributions.missing import mask_term, stand_in
from sursum.distributions.plain_densities import log_density
from sursum.distributions.randomness import drawing_from
from sursum.errors import DensityError, SiteError


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An open plate: `size` independent copies along `dim`, of which `indices` (all where None) are present.

    A sequential plate, used as an iterator, has no `dim`. One that `repeats` surrounds the whole program, including its data:
    each copy is a different draw of it.
    """

    name: str
    dim: int | None
    size: int
    indices: Tensor | None = None
    repeats: bool = False

    def __eq__(self, other: object) -> bool:
        """Whether it is the same plate, with the same object for its indices: tensors have no truth of their own to ask."""
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, item.name), getattr(other, item.name)) for item in fields(self))
        return all(a is b or (not isinstance(a, Tensor) and a == b) for a, b in pairs)

    def __hash__(self) -> int:
        return hash((self.name, self.dim, self.size))

    @property
    def length(self) -> int:
        """The number of copies that are present."""
        return self.size if self.indices is None else len(self.indices)

    @property
    def scale(self) -> float:
        """The factor for log densities that makes the present copies represent all."""
        return self.size / self.length if self.length else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Step(Frame):
    """One step of a scan, the `index`-th of `size`: a frame in time, as a plate is a frame in space. It has no dimension.

    A handler that holds the values of all steps along a leading dimension selects this step's by `take`; one that records
    something in each step stacks the records along a leading dimension by `join`, when the scan is over. `loop` is the
    scan, one object for all of its steps.
    """

    index: int = 0
    loop: Any = None

    rolled: ClassVar[bool] = False  # whether it represents all steps at once, so that per-step results must be computed in it

    def take(self, stacked: Tensor) -> Tensor:
        """This step's part of a value with a leading time dimension."""
        return stacked[self.index]

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """The records of all steps, in order, along a leading time dimension."""
        return torch.stack(tuple(values))


@dataclass(frozen=True, slots=True, eq=False)
class Moment(Frame):
    """One step of a loop of Python, the `index`-th, which depends on the `history` steps before it. It has no dimension.

    `loop` is one object for all steps.
    """

    index: int = 0
    history: int = 1
    loop: Any = None


# Keys that every site has, whatever its type.
_ABSENT: Mapping[str, Any] = MappingProxyType(
    {"fn": None, "is_observed": False, "scale": 1.0, "mask": None, "infer": MappingProxyType({})}
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """What all four types have: a name, a value, the open plates, and the line of the program they come from."""

    type: ClassVar[str] = ""

    name: str
    value: Any = None
    plates: tuple[Frame, ...] = ()
    where: str | None = None

    def but(self, **changes: Any) -> Self:
        """This message with some fields changed."""
        if not self.__dataclass_fields__.keys() >= changes.keys():
            return dataclasses.replace(self, **changes)  # which says what is wrong
        new = object.__new__(type(self))  # at a third of the cost, several times a site
        vars(new).update(vars(self), **changes)
        return new

    def run(self) -> Self:
        """The default behaviour when no handler is left: the message with its value."""
        return self

    def __getitem__(self, key: str) -> Any:
        if key == "type" or key in self.__dataclass_fields__:
            return getattr(self, key)
        return _ABSENT[key]

    def get(self, key: str, default: Any = None) -> Any:
        """``site[key]``, or `default` if no message has such a field."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return key == "type" or key in self.__dataclass_fields__ or key in _ABSENT

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(("type", *self.__dataclass_fields__, *_ABSENT)))

    def __str__(self) -> str:
        return f"{self.name!r} ({self.where})" if self.where else repr(self.name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Param(Site):
    """A parameter with a point estimate. `initial` is the program's own value, or a function that returns it.

    `frozen` marks a network's parameter that does not require gradients; `owner` is the network it belongs to. `stands_for` is
    the name of the network's parameter whose constrained value this is.
    """

    type: ClassVar[str] = "param"

    initial: Tensor | Callable[[], Tensor] | None = None
    constraint: constraints.Constraint = constraints.real
    event_dim: int | None = None
    frozen: bool = False
    owner: Any = None
    stands_for: str | None = None
    generator: torch.Generator | None = None

    @property
    def init(self) -> Tensor | None:
        """The program's own value; a lazy one is evaluated now."""
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
                f"parameter {self} has no value: the program gives no initial value and no store has one. "
                f"Write param({self.name!r}, init), or run the program inside a ParamStore that has it."
            )
        return self.but(value=value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample(Site):
    """A random value from `fn`, observed or not, and its term of the log density, `scale · mask · log fn(value)`.

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
            fn = drawable(self.fn)
            return self.but(value=fn.rsample() if fn.has_rsample else fn.sample())

    def log_prob(self) -> Tensor:
        """The log density of `value`, one element per batch element, scaled and masked.

        Arguments and values were checked when the program reached the site, so the distribution does not check them again.
        """
        if not isinstance(self.fn, Distribution):
            raise DensityError(
                f"site {self} cannot be scored: its prior is a function that returns a tensor, which has no density. "
                "Return a Distribution from it."
            )
        value, mask = self.value, self.mask if self.mask is None else torch.as_tensor(self.mask)
        if isinstance(value, Tensor) and value.dtype == torch.bool:
            value = value.to(torch.get_default_dtype())
        if mask is not None and self.is_observed:
            value = stand_in(value, mask, len(self.fn.event_shape))
        try:
            log_prob: Tensor = score(self.fn, value, lambda fn: log_density(fn, value))
        except NotImplementedError as error:
            raise DensityError(_without_density(self, str(error))) from error
        if mask is not None:
            log_prob = mask_term(log_prob, mask)
        if isinstance(self.scale, Tensor) or self.scale != 1.0:
            log_prob = log_prob * self.scale
        return log_prob


def _parts(transform: Any) -> Iterator[Any]:
    """The transforms of which one is composed, or whose inverse it is."""
    if isinstance(transform, ComposeTransform):
        for part in transform.parts:
            yield from _parts(part)
    elif isinstance(transform, IndependentTransform):
        yield from _parts(transform.base_transform)
    else:
        yield transform.inv if isinstance(transform, InverseTransform) else transform


def _without_density(site: Sample, said: str) -> str:
    """What to say of a distribution that does not compute its density."""
    fn = site.fn
    while isinstance(fn, Independent):
        fn = fn.base_dist
    maps = [part for transform in getattr(fn, "transforms", ()) for part in _parts(transform)]
    folds = [part for part in maps if not getattr(part, "bijective", True)]
    if folds:
        name = type(folds[0]).__name__
        remedy = (
            "write `dist.FoldedDistribution(base)`, or `dist.HalfStudentT`, `dist.HalfNormal`, `dist.HalfCauchy`"
            if name == "AbsTransform"
            else "sample the base distribution, and transform the value in the program"
        )
        return (
            f"site {site} has no density: {name}, by which its {type(fn).__name__} transforms, is not one-to-one, so that the "
            f"density of a value is not that of one value before it: {remedy}."
        )
    for method, what in (("_inverse", "inverse"), ("log_abs_det_jacobian", "log-Jacobian")):
        for part in maps:
            if getattr(type(part), method) is getattr(Transform, method):
                return (
                    f"site {site} has no density: {type(part).__name__}, by which its {type(fn).__name__} transforms, has no "
                    f"{what}. Write its `{method}`, or sample the base distribution and transform the value in the program."
                )
    return (
        f"site {site} has no density: {type(fn).__name__} does not compute one{f' ({said})' if said else ''}. Write a "
        "`log_prob`, or use a distribution that has one."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Deterministic(Site):
    """A named function of other sites, kept as output. `param` as in `Sample`: a lifted and reparameterised parameter."""

    type: ClassVar[str] = "deterministic"

    event_dim: int | None = None
    param: Param | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
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
            value = mask_term(value, torch.as_tensor(self.mask))
        return value * self.scale if isinstance(self.scale, Tensor) or self.scale != 1.0 else value
