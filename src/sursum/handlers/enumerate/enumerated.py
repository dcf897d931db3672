"""`Enumerated`: gives each discrete latent site all its values, and collects the terms that depend on them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from sursum.core.messages import Factor, Moment, Sample, Site
from sursum.core.plates import by_step
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.core.scan import Scan
from sursum.core.scope import at_site
from sursum.distributions.fluent import Masked
from sursum.distributions.standard import Categorical, OneHotCategorical
from sursum.distributions.supports import holds, support_of
from sursum.errors import DensityError
from sursum.handlers.enumerate.elimination import Reduce, eliminate, log_sum, too_large, total
from sursum.handlers.enumerate.held import HELD, is_discrete
from sursum.handlers.enumerate.potentials import LARGEST_TABLE, Potential, Variable, possible, tabulated
from sursum.handlers.enumerate.step_pattern import Pattern, Stepped
from sursum.handlers.enumerate.steps import sum_steps
from sursum.handlers.enumerate.support import LARGEST, VALUES, Support, support_of_site

_MOST_DIMENSIONS = 40

#: What masked sites count for in a choice of the most probable values.
_TIE = 1e-9

SUMMED = "is_summed_out"
"""What a site says, in its `infer`, that has all its values."""


@dataclass(frozen=True)
class Plan:
    """What a program sums out.

    Args:
        nesting: how many dimensions its plates and batches take.
        sites: the sites that are enumerated, with the sizes of their batches.
        supports: their values.
        shapes: the sizes of the scans around them, and of their batches.
        scans: those in each scan, in the order of the program.
        patterns: how the discrete states of each scan go from step to step, once that is known.
        plates: what messages call a dimension.
    """

    nesting: int
    sites: Mapping[str, torch.Size]
    supports: Mapping[str, Support]
    shapes: Mapping[str, torch.Size] = field(default_factory=dict)
    scans: tuple[tuple[str, ...], ...] = ()
    patterns: Mapping[int, Pattern] = field(default_factory=dict)
    plates: Mapping[int, str] = field(default_factory=dict)

    @property
    def names(self) -> str:
        """The sites, for messages."""
        return listed(self.sites)


@dataclass(frozen=True)
class Choice:
    """Which sites are enumerated.

    Args:
        requested: only those that ask for it, as sites of a guide must.
        without: names of sites that are not.
    """

    requested: bool = False
    without: frozenset[str] = frozenset()

    def __call__(self, site: Site) -> bool:
        if site.name in self.without or (self.requested and not site["infer"].get("enumerate")):
            return False
        return can_enumerate(site)


EVERY = Choice()

Made = tuple[Variable, tuple[Moment, ...]]
"""A variable, and the steps of loops in which it was made."""


def can_enumerate(site: Site) -> bool:
    """Whether a site is latent, has finitely many values, and may be given all of them."""
    if not isinstance(site, Sample) or site.infer.get(HELD) or site.infer.get("enumerate", "parallel") is None:
        return False
    return is_discrete(site) and support_of_site(site) is not None


@handler
class Enumerated(Messenger):
    """Gives each discrete latent site inside all its values, along a dimension of its own left of the plates.

    The terms that depend on them are `terms`, and the names of their sites `summed`; `log_sum` is the log of their sum over
    all values.
    """

    plan: Plan = required()
    reduce: Reduce = log_sum
    choice: Choice = EVERY
    given: tuple[Made, ...] = ()  # variables of another program, whose values this one is given
    tilts: Mapping[str, Tensor] = field(default_factory=dict)  # what is added to the log densities of sites, for derivatives

    terms: list[Potential] = field(init=False, repr=False, default_factory=list)
    summed: dict[str, tuple[Variable, ...]] = field(init=False, repr=False, default_factory=dict)
    variables: list[Made] = field(init=False, repr=False, default_factory=list)
    patterns: dict[int, Pattern] = field(init=False, repr=False, default_factory=dict)
    step: Stepped | None = field(init=False, repr=False, default=None)
    count: int = field(init=False, repr=False, default=0)
    reached: dict[Any, int] = field(init=False, repr=False, default_factory=dict)  # the last step of each loop in time

    @property
    def nesting(self) -> int:
        return self.plan.nesting

    def enumerates(self, site: Site) -> bool:
        return self.choice(site)

    def handle(self, site: Site) -> Any:
        moments = tuple(frame for frame in site.plates if isinstance(frame, Moment))
        for moment in moments:
            self.reached[moment.loop] = moment.index
        variable = None
        if self.enumerates(site):
            variable, site = self._with_values(site, moments)
        self._admit(site, moments)
        out = perform(site)
        if isinstance(out, (Sample, Factor)):
            self._collect(out, variable, moments)
        return out

    def fresh(self) -> Self:
        copy = super().fresh()
        copy.variables = [(variable, ()) for variable, moments in self.given if not moments]
        return copy

    # Values ---------------------------------------------------------------------------------------------------------

    def _admit(self, site: Site, moments: tuple[Moment, ...]) -> None:
        """Let sites from here on depend on a variable of another program's loop: its values come in at the site of its name."""
        for variable, theirs in self.given:
            if not theirs or variable.site != site.name:
                continue
            other = self.visible(moments).get(variable.dim)
            if other is not None:
                raise DensityError(
                    f"the discrete sites {other.site!r} and {site} have their values along one dimension in the guide, where "
                    "su.markov says that nothing depends on both, and in the model something may. Write the loop of the model "
                    "with su.markov too, of the same history, or that of the guide without."
                )
            self.variables.append((variable, moments))

    def _with_values(self, site: Any, moments: tuple[Moment, ...]) -> tuple[Variable, Sample]:
        support = support_of_site(site)
        assert support is not None  # it is enumerated
        batch = self.plan.sites.get(site.name)
        if batch is None:
            raise DensityError(
                f"discrete site {site} did not exist when the program was first run. A density needs the same sites in every "
                "execution."
            )
        check_size(site, support)
        variable = None if self.step is None else self.step.current(site.name)
        if variable is None:
            dims = frozenset(dim for dim in range(-len(batch), 0) if batch[dim] != 1)
            dim = self._free_dim(moments, site)
            variable = Variable(site.name, site.name, support.size, dims, dim)
            self.variables.append((variable, moments))
        events = len(site.fn.event_shape)
        value = spread(support.values(), variable.dim, events)
        if site.infer.get("expand"):  # as large as a draw, for a program that reads its shape
            split = value.dim() - events
            value = value.expand(torch.broadcast_shapes(value.shape[:split], batch) + value.shape[split:])
        if self.step is not None:
            self.step.made(variable, value)
        return variable, site.but(value=value, infer={**site.infer, SUMMED: True})

    def _free_dim(self, moments: tuple[Moment, ...], site: Site) -> int:
        taken = {v.dim for v in (*self.visible(moments).values(), *(v for v, _ in self.given))}
        taken |= set() if self.step is None else self.step.reserved
        place = next(place for place in range(len(taken) + 1) if -1 - self.plan.nesting - place not in taken)
        self._check_dimensions(place + 1, site)
        return -1 - self.plan.nesting - place

    def _check_dimensions(self, count: int, site: Site | str) -> None:
        if count > _MOST_DIMENSIONS:
            raise DensityError(
                f"discrete site {site} is one of more than {_MOST_DIMENSIONS} that the program may use together, and each "
                "needs "
                "a dimension. Put independent ones into a plate, write `for t in su.markov(range(n))` where each depends "
                "on the "
                "one before it, or su.scan."
            )

    def reserve(self, count: int, name: str) -> list[int]:
        """Dimensions that nothing else has."""
        taken = {v.dim for v, _ in (*self.variables, *self.given)}
        taken |= set() if self.step is None else self.step.reserved
        free = [place for place in range(len(taken) + count) if -1 - self.plan.nesting - place not in taken][:count]
        self._check_dimensions(max(free, default=0) + 1, name)
        return [-1 - self.plan.nesting - place for place in free]

    def visible(self, moments: tuple[Moment, ...] = ()) -> dict[int, Variable]:
        """The variables that a site in these steps of loops may depend on, by dimension."""
        index = {moment.loop: moment.index for moment in moments}

        def seen(others: tuple[Moment, ...]) -> bool:
            return all(index.get(m.loop, self.reached.get(m.loop, m.index)) - m.index <= m.history for m in others)

        found = {v.dim: v for v, others in self.variables if seen(others)}
        return found if self.step is None else found | self.step.visible

    # Terms ----------------------------------------------------------------------------------------------------------

    def _collect(self, site: Sample | Factor, variable: Variable | None, moments: tuple[Moment, ...]) -> None:
        """Keep the term of a site that depends on discrete sites."""
        if isinstance(site, Sample) and not isinstance(site.value, Tensor):
            return  # which `sample` refuses
        nesting = self.plan.nesting
        events = len(site.fn.event_shape) if isinstance(site, Sample) and isinstance(site.fn, Distribution) else 0
        shapes = [site.value.shape[: site.value.dim() - events]] if isinstance(site.value, Tensor) else []
        if isinstance(site, Sample) and isinstance(site.fn, Distribution):
            shapes.append(site.fn.batch_shape)
        if isinstance(site.mask, Tensor):
            shapes.append(site.mask.shape)
        if all(len(shape) <= nesting for shape in shapes):
            return
        visible = self.visible(moments)
        self._check_table(site, torch.broadcast_shapes(*shapes), visible)
        with at_site(site):
            term = _log_prob(site, variable, nesting, best=getattr(self.reduce, "best", False))
        if variable is not None and site.name in self.tilts:
            tilt = by_step(site, self.tilts[site.name])  # type: ignore[arg-type]
            batch = tilt.shape[1:]
            ones = [1] * (-variable.dim - 1 - len(batch))
            term = term + tilt.reshape([tilt.shape[0], *ones, *batch])
        try:
            table, variables = tabulated(term, visible, nesting)
        except KeyError:
            raise DensityError(
                f"the log density of site {site} has shape {tuple(term.shape)}, more dimensions than its plates and the "
                "discrete "
                f"sites that it may depend on ({listed(v.site for v in visible.values())}). {ADVICE}"
            ) from None
        except RuntimeError:
            raise DensityError(
                f"the log density of site {site} has shape {tuple(term.shape)}, which is not that of the values of the "
                "discrete "
                f"sites {', '.join(f'{v.site!r} ({v.size} at dim {v.dim})' for v in visible.values())}. {ADVICE}"
            ) from None
        scale, plates = _scales(site)
        counted = None if variable is None else _counted(site)
        if counted is not None:
            counted, _ = tabulated(counted.expand(term.shape), visible, nesting)
        one = Potential(possible(table), variables, scale, (site.name,), plates, counted)
        self.summed[site.name] = tuple(dict.fromkeys((*self.summed.get(site.name, ()), *variables)))
        (self.terms if self.step is None else self.step.terms).append(one)

    def _check_table(self, site: Site, shape: torch.Size, visible: Mapping[int, Variable]) -> None:
        if shape.numel() > LARGEST_TABLE:
            extra = len(shape) - self.plan.nesting
            variables = [visible[place - len(shape)] for place in range(extra) if place - len(shape) in visible]
            used = [v for v in reversed(variables) if shape[v.dim] != 1]
            raise too_large(used, shape[extra:], shape.numel(), self.plan.plates)

    def log_sum(self) -> Tensor:
        """The log of the sum, over all values of the discrete sites, of the product of the terms that depend on them."""
        return total(self.left())

    def left(self, keep: frozenset[Variable] = frozenset(), apart: frozenset[int] = frozenset()) -> list[Potential]:
        """The terms that are left when all variables but those to `keep` are summed out.

        Args:
            apart: dimensions that are not multiplied over, since the whole program is repeated along them.
        """
        return eliminate(self.terms, keep, apart, reduce=self.reduce, named=self.plan.plates)

    # Loops ----------------------------------------------------------------------------------------------------------

    def around_scan(self, loop: Scan, run: Callable[[Scan], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        names = self.plan.scans[number] if number < len(self.plan.scans) else ()
        if not names and not self.visible():
            return run(loop)
        return sum_steps(self, number, names, loop, run)

    @contextmanager
    def stepping(self, step: Stepped) -> Iterator[None]:
        """While this is entered, terms are those of a step of a scan."""
        before, self.step = self.step, step
        try:
            yield
        finally:
            self.step = before


ADVICE = (
    "A program whose discrete sites are summed out is run with all their values at once, along dimensions left of the plates: "
    "write operators that broadcast from the left (`table[..., k]`, `su.ops.vindex`, `torch.where`), without `if` on their "
    "values and without sums over them; `su.markov(…, history=…)` says how far back a loop looks."
)


def listed(names: Iterable[str]) -> str:
    """Names of sites for messages, the first few of many."""
    known = list(names)
    return ", ".join(map(repr, known[:6])) + (f" and {len(known) - 6} more" if len(known) > 6 else "")


def spread(values: Tensor, dim: int, events: int) -> Tensor:
    """Values of (size, *batch shape, *event shape) along dimension `dim` of a batch shape."""
    batch = values.dim() - 1 - events
    return values.reshape([len(values), *[1] * (-dim - 1 - batch), *values.shape[1:]])


def check_size(site: Sample, support: Support) -> None:
    """Raise DensityError for a site with too many values."""
    if support.size > LARGEST and site.infer.get("enumerate") is None:
        raise DensityError(
            f"discrete site {site} has {support.size:,} values, and at most {LARGEST:,} are summed out. To do so anyway "
            "give it infer={'enumerate': 'parallel'}; or approximate it by a continuous site."
        )


def _log_prob(site: Sample | Factor, variable: Variable | None, nesting: int, *, best: bool = False) -> Tensor:
    """The log density of a site without its scale, −∞ where a value is impossible.

    Args:
        best: whether the largest term of the sum is asked for.
    """
    if variable is not None and isinstance(site, Sample):
        present: Tensor | bool = True
        while isinstance(site.fn, Masked):
            present = site.fn.mask_tensor & present
            site = site.but(fn=site.fn.base_dist)
        term = _own(site, variable)
        even = torch.full_like(term, -torch.tensor(float(variable.size)).log().item())
        if isinstance(present, Tensor):
            term = torch.where(present, term, even)  # a density that is the same for all values
        if site.mask is not None:
            # What is left out has its distribution still, whose sum is one, and on which other sites may depend. Of the largest
            # term it must decide nothing that counts, but only ties.
            left_out = torch.where(term.isnan(), even, term * _TIE if best else term)
            term = torch.where(torch.as_tensor(site.mask), term, left_out)
        return term
    term = site.but(scale=1.0).log_prob()
    if isinstance(site, Sample) and isinstance(site.fn, Distribution):
        valid = _valid(site, nesting)
        if valid is not None:
            valid = valid if site.mask is None else valid | ~torch.as_tensor(site.mask)
            term = torch.where(valid, term, torch.full_like(term, -torch.inf))
    return term


def _counted(site: Any) -> Tensor | None:
    """Where a site's term is one of the log density; None for everywhere."""
    masks, fn = [] if site.mask is None else [torch.as_tensor(site.mask)], site.fn
    while isinstance(fn, Masked):
        masks.append(fn.mask_tensor)
        fn = fn.base_dist
    return None if not masks else functools.reduce(torch.logical_and, masks)


def _own(site: Sample, variable: Variable) -> Tensor:
    """The log density of all values of a site, −∞ where one of its elements cannot have one."""
    if VALUES not in site.infer and type(site.fn).log_prob in _BY_LOGITS:
        return _moved(site.fn.logits, variable.dim)
    total_count = getattr(site.fn, "total_count", None)
    if isinstance(total_count, Tensor) and total_count.numel() > 1 and not site.fn.event_shape:
        within = site.value <= total_count
        term = site.but(value=torch.minimum(site.value, total_count), mask=None, scale=1.0).log_prob()
        return torch.where(within, term, torch.full_like(term, -torch.inf))
    return site.but(mask=None, scale=1.0).log_prob()


_BY_LOGITS = tuple(kind.log_prob for kind in (td.Categorical, td.OneHotCategorical, Categorical, OneHotCategorical))
"""Where the log density of all values is what the distribution has already."""


def _moved(logits: Tensor, dim: int) -> Tensor:
    """Logits with the values, their last dimension, at dimension `dim` of the batch shape, which has size 1 there."""
    batch = logits.shape[:-1]
    wide = logits.reshape([1] * (-dim - len(batch)) + list(logits.shape))
    return wide.squeeze(dim - 1).movedim(-1, dim).contiguous()


def _valid(site: Sample, nesting: int) -> Tensor | None:
    """Where the value lies in the support, if that differs between values of discrete sites."""
    try:
        support = support_of(site.fn)
    except NotImplementedError:
        return None
    valid = holds(support, site.value)
    events = len(site.fn.event_shape)
    return valid if valid.dim() > max(nesting, site.value.dim() - events) else None


def _scales(site: Sample | Factor) -> tuple[Tensor | float, dict[int, float]]:
    """The scale of a site other than that of its plates, and that of each of their dimensions."""
    scale, plates = site.scale, {}
    for frame in site.plates:
        if frame.dim is not None and frame.scale != 1.0:
            plates[frame.dim] = frame.scale
            scale = scale / frame.scale
    if not isinstance(scale, Tensor) and abs(scale - 1.0) < 1e-12:
        scale = 1.0
    return scale, plates
