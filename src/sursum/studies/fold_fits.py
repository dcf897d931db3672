"""The fits of one program, or of several, to parts of their data: in this process or at workers, and what they predict."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.cluster import Lost, Workers
from sursum.cluster.workers import Here
from sursum.common.patterns import suggestion
from sursum.common.progress import ProgressState, display_for
from sursum.common.settings import check_setting, whole_number
from sursum.common.user_frame import warn
from sursum.core.calling import refuse_shadowed
from sursum.core.trace import Trace
from sursum.draws.psis import LIMIT, smooth
from sursum.errors import OptionError, SamplingError
from sursum.handlers import trace
from sursum.mcmc import MCMC, DiscreteGibbs
from sursum.predict.log_likelihood import log_likelihood
from sursum.studies.cross_validation import CrossValidation
from sursum.studies.hold_out import frame_of, held
from sursum.studies.many import sampler

OPTIONS = ("plate", "num_folds", "groups", "seed", "on", "progress")
"""Of the functions that cross-validate, which no program may have as parameters."""

Array = NDArray[np.float64]
Request = tuple[int, NDArray[np.intp] | None]
"""The number of a program, and what is left out; None for a fit to all data, from which the folds are predicted."""


@dataclass(frozen=True)
class Folds:
    """What is left out of a plate, one fold at a time.

    Args:
        size: of the plate.
        labels: the names of the folds.
        members: the elements of each.
        importance: whether they are predicted by one fit, and are left out by a fit of their own only where that fails.
    """

    size: int
    labels: Sequence[Any]
    members: Sequence[NDArray[np.intp]]
    importance: bool

    @classmethod
    def of(cls, size: int, num_folds: int | None, groups: Any, seed: int) -> Self:
        """As the options say.

        Raises:
            SamplingError: they do not fit the plate.
        """
        labels, members = _folds(size, num_folds, groups, seed)
        return cls(size, labels, members, num_folds is None)


def _size(found: Trace, plate: str) -> int:
    """The size of the plate, in which something is observed."""
    frames = {name: frame_of(site, plate) for name, site in found.observed.items()}
    for frame in frames.values():
        if frame is not None:
            return frame.size
    names = sorted({frame.name for site in found.values() for frame in site.plates})
    if plate not in names:
        raise SamplingError(f"the program has no plate {plate!r}.{suggestion(plate, names)}")
    raise SamplingError(f"the program observes nothing in plate {plate!r}. Call it with its data.")


def _folds(size: int, num_folds: int | None, groups: Any, seed: int) -> tuple[Sequence[Any], Sequence[NDArray[np.intp]]]:
    """The names of the folds, and the elements of each."""
    if num_folds is not None:
        count = whole_number("num_folds", num_folds, 2, SamplingError, "10 is usual")
        check_setting("num_folds", count <= size, count, f"at most {size}, the plate's size", SamplingError, "10 is usual")
        order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 0))).permutation(size)
        return range(count), [np.sort(part) for part in np.array_split(order, count)]
    if groups is None:
        return range(size), list(np.arange(size)[:, None])
    labels = np.asarray(groups)
    if labels.shape != (size,):
        raise SamplingError(
            f"`groups` has shape {labels.shape}, and the plate has {size} elements: ({size},) was expected. Give the number or "
            "the name of a group for each of them."
        )
    names, which = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise SamplingError("`groups` names a single group, and nothing would be left to fit. Give at least two.")
    return names.tolist(), [np.flatnonzero(which == g) for g in range(len(names))]


@dataclass(frozen=True)
class PartFits:
    """The fits of one program to parts of its data."""

    mcmc: MCMC
    plate: str
    folds: Folds
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def without(self, left_out: NDArray[np.intp]) -> tuple[float, Array]:
        """The log predictive density of what is left out, together and of each element, by a fit without it."""
        kept = torch.ones(self.folds.size, dtype=torch.bool)
        kept[left_out] = False
        scores = self._scores(kept, int(left_out[0]) + 1)[:, left_out]
        return _log_mean(scores.sum(axis=1)), np.array([_log_mean(column) for column in scores.T])

    def by_importance(self) -> tuple[Array, Array]:
        """The same for each fold from one fit to all data, and Pareto's k."""
        members = self.folds.members
        scores = self._scores(torch.ones(self.folds.size, dtype=torch.bool), 0)
        elpd, k = np.empty(len(members)), np.empty(len(members))
        for g, rows in enumerate(members):
            score = scores[:, rows].sum(axis=1)
            found = smooth(-score)
            elpd[g] = float(np.logaddexp.reduce(found.log_weights + score))
            # Weights that are all equal have no k, and need none.
            k[g] = found.pareto_k if np.ptp(score) > 0 else -np.inf
        return elpd, k

    def _scores(self, kept: torch.Tensor, number: int) -> Array:
        """The log likelihood of every element of the plate, (draw, element), in the posterior of those that are kept."""
        kernel, program = self.mcmc.kernel, program_of(self.mcmc)
        inner = kernel.kernel if isinstance(kernel, DiscreteGibbs) else kernel
        seed = np.random.SeedSequence(cast(int, self.mcmc.seed), spawn_key=(1, number)).generate_state(1, np.uint64)
        inner = replace(inner, model=held(program, self.plate))
        kernel = replace(kernel, kernel=inner) if isinstance(kernel, DiscreteGibbs) else inner
        with warnings.catch_warnings():
            if number:  # warnings about the program have been issued for the first fit
                warnings.simplefilter("ignore")
            posterior = replace(self.mcmc, kernel=kernel, seed=int(seed[0])).run(kept, *self.args, **self.kwargs)
        with torch.no_grad():
            frames = {
                n: frame_of(s, self.plate) for n, s in trace(program).get_trace(*self.args, **self.kwargs).observed.items()
            }
        total = np.zeros((posterior.num_chains * posterior.num_samples, self.folds.size))
        for name, values in log_likelihood(program, posterior, *self.args, **self.kwargs).items():
            frame = frames.get(name)
            if frame is not None and frame.dim is not None:
                flat = values.flatten(0, 1).movedim(frame.dim, 1)
                total += flat.reshape(*flat.shape[:2], -1).sum(-1).numpy()
        return total


def _log_mean(values: Array) -> float:
    return float(np.logaddexp.reduce(values) - math.log(len(values)))


def part_fits(
    command: str,
    model: MCMC | Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    plate: str,
    num_folds: int | None,
    groups: Any,
    seed: int | None,
    cores: int | None,
) -> PartFits:
    """The fits of a program that is given to the function `command`.

    Raises:
        SamplingError: there is no such plate, nothing is observed in it, or the folds do not fit it.
        OptionError: the program has a parameter that is called like an option; two kinds of folds were given.
    """
    mcmc = sampler(model, seed)
    program = program_of(mcmc)
    refuse_shadowed(program, command, OPTIONS)
    if num_folds is not None and groups is not None:
        raise OptionError("`num_folds` and `groups` were both given. Give one: random folds, or one fold for each group.")
    size = _size(trace(program).get_trace(*args, **kwargs), plate)
    folds = Folds.of(size, num_folds, groups, cast(int, mcmc.seed))
    return PartFits(replace(mcmc, progress=False, cores=mcmc.cores if cores is None else cores), plate, folds, args, kwargs)


def program_of(mcmc: MCMC) -> Callable[..., Any]:
    """What a sampler samples."""
    kernel = mcmc.kernel
    found: Callable[..., Any] = kernel.kernel.model if isinstance(kernel, DiscreteGibbs) else kernel.model
    return found


def check_place(on: Any) -> None:
    """Raise OptionError unless it is a place for work, or None."""
    place = isinstance(on, Workers) or on is None
    check_setting("on", place, on, "a place for work or None", OptionError, "give `su.cluster.Local()` or `su.cluster.Ray()`")


@dataclass(frozen=True)
class _Task:
    """What is done at a place for work: a fit of one of some programs."""

    fits: Mapping[str, PartFits]
    elsewhere: bool

    def __call__(self, request: Request) -> tuple[Any, list[tuple[type[Warning], str]]]:
        """What was found, and the warnings about it that nobody would see at a worker."""
        name, fits = list(self.fits.items())[request[0]]
        try:
            with warnings.catch_warnings(record=self.elsewhere) as caught:
                if self.elsewhere:
                    warnings.simplefilter("always")
                found = fits.by_importance() if request[1] is None else fits.without(request[1])
        except Exception as error:
            if name:
                error.add_note(f"The program was {name!r}.")
            raise
        return found, [(one.category, str(one.message)) for one in caught or ()]


def cross_validate_all(fits: Mapping[str, PartFits], on: Workers | None, progress: bool | None) -> dict[str, CrossValidation]:
    """The cross-validation of each program. All that wait for the same are done together.

    Raises:
        SamplingError: a fit failed, or its workers died.
    """
    names, ones = list(fits), list(fits.values())
    places: Workers = Here() if on is None else on
    task, display, done = _Task(fits, on is not None), display_for(progress), list[int]()
    elpd = [np.full(len(one.folds.members), np.nan) for one in ones]
    k = [np.full(len(one.folds.members), np.nan) for one in ones]
    each = [np.full(one.folds.size, np.nan) for one in ones]
    left = [list(range(len(one.folds.members))) for one in ones]

    def at_work(requests: Sequence[tuple[int, int | None]], total: int) -> Any:
        """The requests, by program and fold, with what was found, as it is found."""
        sent: list[Request] = [(n, None if g is None else ones[n].folds.members[g]) for n, g in requests]
        for number, found in places.map(task, sent):
            n, g = requests[number]
            if isinstance(found, Lost):
                whose = f" of program {names[n]!r}" if names[n] else ""
                which = "to all data" if g is None else f"without fold {ones[n].folds.labels[g]!r}"
                raise SamplingError(f"the fit{whose} {which} has no result: {found.reason}")
            result, warned = found
            for category, text in warned:
                warn(text, category)
            done.append(number)
            display.update(lambda: ProgressState(len(done), total, (f"{len(done)}/{total} fits",)))
            yield n, g, result

    try:
        first = [n for n, one in enumerate(ones) if one.folds.importance]
        for n, _, (found, pareto) in at_work([(n, None) for n in first], len(first)):
            elpd[n], k[n] = found, pareto
            left[n] = [g for g, one in enumerate(pareto) if not one <= LIMIT]
        again = [(n, g) for n, missing in enumerate(left) for g in missing]
        for n, g, (whole, parts) in at_work(again, len(first) + len(again)):
            elpd[n][g], each[n][ones[n].folds.members[g]] = whole, parts
    finally:
        display.close()
    return {name: _result(one.folds, elpd[n], each[n], k[n], left[n]) for n, (name, one) in enumerate(fits.items())}


def _result(folds: Folds, elpd: Array, each: Array, k: Array, left: Sequence[int]) -> CrossValidation:
    labels = tuple(folds.labels)
    if not folds.importance:
        return CrossValidation(each, {}, (), labels)
    return CrossValidation(elpd, dict(zip(labels, k.tolist(), strict=True)), tuple(labels[g] for g in left), labels)
