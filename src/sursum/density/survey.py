"""`Survey`: a run in which every discrete site has one value, to find what can be summed out, and to prove that it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from sursum.core.messages import Factor, Sample, Site, Step
from sursum.core.runtime import handler
from sursum.core.scan import Scan
from sursum.core.time_axis import StackedFactor, StackedSample
from sursum.core.trace import Trace, scored
from sursum.density.answering import Answering
from sursum.errors import DensityError, ObservationError, PlateError, SursumError
from sursum.handlers import seed
from sursum.handlers.enumerate.enumerated import ADVICE, EVERY, Choice, Enumerated, Plan, check_size, listed
from sursum.handlers.enumerate.potentials import tabulated
from sursum.handlers.enumerate.support import Support, support_of_site

_CLOSE = 1e-6

PROOFS = 3
"""Runs at single values that one with all values is compared with."""

_MOST_PATTERNS = 1 << 12


@handler
class Survey(Answering):
    """Gives every site that can be summed out one value, drawn from `seed`, and finds the shapes of the program."""

    seed: int = 0
    choice: Choice = EVERY

    sites: dict[str, torch.Size] = field(init=False, repr=False, default_factory=dict)
    supports: dict[str, Support] = field(init=False, repr=False, default_factory=dict)
    chosen: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    scans: list[list[str]] = field(init=False, repr=False, default_factory=list)
    inside: list[int] = field(init=False, repr=False, default_factory=list)
    deepest: int = field(init=False, repr=False, default=0)
    plates: dict[int, str] = field(init=False, repr=False, default_factory=dict)

    def enumerates(self, site: Site) -> bool:
        return self.choice(site)

    def handle(self, site: Site) -> Any:
        self._note(site)
        return super().handle(site) if self.enumerates(site) else self.outside(site)

    def latent(self, site: Sample, steps: tuple[Step, ...]) -> Tensor:
        """The numbers of the values, one for each element of the site's batch, in all steps."""
        support = support_of_site(site)
        assert support is not None  # it is enumerated
        check_size(site, support)
        batch = torch.Size(site.fn.batch_shape)
        index = _numbers(self.seed, len(self.sites), support.size, (*(step.size for step in steps), *batch))
        self.sites[site.name], self.supports[site.name] = batch, support
        self.chosen[site.name] = torch.as_tensor(index)
        if steps and self.inside and site.name not in self.scans[self.inside[-1]]:
            self.scans[self.inside[-1]].append(site.name)
        return self.chosen[site.name]

    def settle(self, site: Sample, answer: Tensor) -> Sample:
        support = support_of_site(site)
        assert support is not None  # it is enumerated
        values = support.values()
        each = values.dim() > 1 + len(site.fn.event_shape)  # each element of the batch has its own
        return site.but(value=values.gather(0, answer.unsqueeze(0))[0] if each else values[answer])

    def around_scan(self, loop: Scan, run: Callable[[Scan], Any]) -> Any:
        self.inside.append(len(self.scans))
        self.scans.append([])
        try:
            return run(loop)
        finally:
            self.inside.pop()

    def _note(self, site: Site) -> None:
        depth = 0
        if isinstance(site, Sample) and isinstance(site.fn, Distribution):
            depth = len(site.fn.batch_shape)
            if isinstance(site.value, Tensor):
                depth = max(depth, site.value.dim() - len(site.fn.event_shape))
        elif isinstance(site, Factor):
            depth = site.value.dim()
        for frame in site.plates:
            if frame.dim is not None:
                depth = max(depth, -frame.dim)
                named = self.plates.setdefault(frame.dim, f"plate {frame.name!r}")
                if f"plate {frame.name!r}" not in named:
                    self.plates[frame.dim] = f"{named} or {frame.name!r}"
        self.deepest = max(self.deepest, depth)

    def plan_names(self) -> str:
        """The sites, for messages."""
        return listed(self.sites)

    def plan_sizes(self) -> str:
        """The sites with the number of their values, and of the elements of their plates, for messages."""
        known = [self._size_of(name) for name in self.sites]
        return ", ".join(known[:6]) + (f" and {len(known) - 6} more" if len(known) > 6 else "")

    def _size_of(self, name: str) -> str:
        batch = self.sites[name]
        inside = [
            f"{batch[dim]:,} elements of {self.plates[dim]}"
            for dim in range(-len(batch), 0)
            if batch[dim] != 1 and dim in self.plates
        ]
        each = f" for each of {' × '.join(inside)}" if inside else ""
        return f"{name!r} ({self.supports[name].size:,} values{each})"

    def plan(self) -> Plan | None:
        """What is to be summed out; None if there is nothing."""
        if not self.sites:
            return None
        shapes = {name: index.shape for name, index in self.chosen.items()}
        return Plan(self.deepest, self.sites, self.supports, shapes, tuple(map(tuple, self.scans)), {}, self.plates)


def _numbers(seed: int, place: int, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of the values that the site at this place has in a run, (*shape).

    Where a program takes the values of one site for those of another, the terms are right wherever the two are equal. So sites
    whose places differ by less than size³ have different values in one of the runs, element by element; it is left to chance
    only where there are many values.
    """
    patterns = size**PROOFS
    if patterns > _MOST_PATTERNS:
        return np.random.default_rng((seed, place)).integers(0, size, shape)
    begin = np.random.default_rng(0).integers(0, patterns, shape)
    pattern = np.random.default_rng(1).permutation(patterns)[(begin + place) % patterns]
    found: np.ndarray = np.asarray(pattern // size**seed % size)
    return found


@contextmanager
def same_draws(rng_seed: int) -> Iterator[None]:
    """Begin the random numbers of a program anew, also those of layers such as dropout, of NumPy and of Python: runs of it can
    be compared."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), seed(rng_seed=rng_seed):
        torch.default_generator.manual_seed(rng_seed)
        random.seed(rng_seed)
        np.random.seed(rng_seed % (1 << 32))
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@contextmanager
def with_all_values(sites: str) -> Iterator[None]:
    """Convert errors of a program that ran with one value of each discrete site, and fails with all.

    Args:
        sites: for the message.

    Raises:
        DensityError: it is not written for all values at once.
    """
    try:
        yield
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, SursumError) and not isinstance(error, (ObservationError, PlateError)):
            raise
        if type(error) is ValueError and not str(error).startswith("only one element"):  # a point at which it does not run
            raise
        why = str(error).rstrip(".")
        raise DensityError(
            f"the program cannot be run with all values of the discrete sites {sites} at once: {why}. {ADVICE}"
        ) from error


def check_terms(plain: Trace, chosen: Mapping[str, Tensor], found: Trace, at: Enumerated) -> None:
    """Check that a program run with all values at once has the terms that it has at one of them.

    Args:
        plain: a run in which each discrete site had one value.
        chosen: the numbers of those, as a `Survey` has them.
        found: one in which they had all values, at the same values of the other sites, and `at` its handler.

    Raises:
        DensityError: it has others; it is not written for all values at once.
    """
    for name in {**plain.nodes, **found.nodes}:
        one, many = plain.get(name), found.get(name)
        if type(one) is not type(many):
            raise DensityError(
                f"site {one or many} is reached only with {'one value' if one else 'all values'} of {at.plan.names}. {ADVICE}"
            )
        if not isinstance(one, (Sample, Factor)) or not isinstance(many, (Sample, Factor)):
            continue
        try:
            term = scored(one).detach()
        except (SursumError, ValueError, RuntimeError):
            continue  # impossible at these values
        _compare(one, term, _take(many, scored(many).detach(), chosen, at), at)


def _take(site: Sample | Factor, term: Tensor, numbers: Mapping[str, Tensor], at: Enumerated) -> Tensor:
    """The elements of a term at the values that were drawn; in the first steps of a scan, NaN."""
    variables, nesting = at.summed.get(site.name, ()), at.plan.nesting
    in_time = isinstance(site, (StackedSample, StackedFactor))
    if not variables:
        return term
    if in_time:  # time is one plate more
        term, nesting = term.movedim(0, -1), nesting + 1
        variables = tuple(replace(v, dim=v.dim - 1) for v in variables)
    table, order = tabulated(term, {v.dim: v for v in variables}, nesting)
    index: list[Tensor] = []
    skipped = 0
    for variable in order:
        chosen = numbers[variable.site]
        back = int(variable.name.rpartition("@")[2]) if variable.name != variable.site else 0
        if back and not in_time:  # a state after the loop
            chosen = chosen[-back]
        if in_time:
            skipped = max(skipped, back)
            chosen = chosen.movedim(0, -1).roll(back, -1) if variable.name != variable.site else chosen.unsqueeze(-1)
        index.append(chosen.reshape((1,) * (nesting - chosen.dim()) + chosen.shape))
    plates = table.shape[len(order) :]
    index += [torch.arange(size).reshape(-1, *(1,) * (nesting - 1 - place)) for place, size in enumerate(plates)]
    found = table[tuple(index)]
    if in_time:
        found = found.movedim(-1, 0).clone()
        found[:skipped] = torch.nan
    return found


def _compare(site: Sample | Factor, one: Tensor, many: Tensor, at: Enumerated) -> None:
    """Raise DensityError where two computations of a term differ."""
    shape = torch.broadcast_shapes(one.shape, many.shape) if _fit(one, many) else None
    if shape is not None and shape.numel() == one.numel():
        close = max(_CLOSE, 1000.0 * torch.finfo(many.dtype).eps) if many.is_floating_point() else _CLOSE
        one, many = one.expand(shape).double(), many.expand(shape).double()
        compared = one.isfinite() & ~many.isnan()
        away = (one - many).abs() > close * one.abs().clamp(min=1.0)
        if not bool((compared & away).any()):
            return
        which = int((compared & away).flatten().int().argmax())
        values = (
            f"{float(one.flatten()[which]):.6g} at one value of each and {float(many.flatten()[which]):.6g} among all values"
        )
    else:
        values = f"of shape {tuple(one.shape)} at one value of each and {tuple(many.shape)} among all values"
    raise DensityError(
        f"the log density of site {site} is not the same, {values}, of the discrete sites {at.plan.names}. {ADVICE}"
    )


def _fit(one: Tensor, many: Tensor) -> bool:
    pairs = zip(reversed(one.shape), reversed(many.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


__all__ = ["Survey", "check_terms", "same_draws", "with_all_values"]
