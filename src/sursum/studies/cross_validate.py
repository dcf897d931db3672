r"""`cross_validate`: how well a program predicts data that it has not seen.

.. math:: \mathrm{elpd} = \sum_g \log p(y_g \mid y_{-g}), \quad
          p(y_g \mid y_{-g}) = \mathrm{E}_{z \sim p(z \mid y_{-g})} \prod_{i \in g} p(y_i \mid z)

What is left out is masked, not removed: the fits of all folds are one density on different data.

References:
    Vehtari, Gelman, Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC, sections
    2 and 3. Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.cluster import Lost, Workers
from sursum.cluster.workers import Here
from sursum.common.other_libraries import answers
from sursum.common.patterns import suggestion
from sursum.common.progress import ProgressState, display_for
from sursum.common.settings import check_setting, whole_number
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

_OPTIONS = ("plate", "num_folds", "groups", "seed", "on", "progress")

Array = NDArray[np.float64]


@answers(k="num_folds", folds="num_folds", group="groups")
def cross_validate(
    model: MCMC | Callable[..., Any],
    /,
    *args: Any,
    plate: str,
    num_folds: int | None = None,
    groups: Any = None,
    seed: int | None = None,
    on: Workers | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> CrossValidation:
    """The expected log predictive density of the observations in a plate, each predicted from the others.

    With neither `num_folds` nor `groups` one element is left out at a time, with `groups` one group: from a single fit by
    Pareto-smoothed importance sampling, and by a fit of its own where that fails (k above 0.7). With `num_folds` each fold is
    left out by a fit of its own. Unknowns in the plate are drawn from their prior where they are left out, as those of a new
    element would be.

    Args:
        model: a sampler with its settings, or a program, which is sampled by NUTS with 2 chains of 500 + 500 draws.
        args, kwargs: the arguments of the program, with all of the data.
        plate: the name of the plate whose elements are left out.
        num_folds: how many random folds of equal size.
        groups: for each element of the plate the number or the name of its group.
        seed: of the folds and of all fits; by default that of the sampler, or one from torch's global generator.
        on: where the fits run: None for this process, `su.cluster.Local()` for its cores, `su.cluster.Ray()` for a cluster.
        progress: whether to show it; None shows it on a terminal or in a notebook.

    Raises:
        SamplingError: there is no such plate, nothing is observed in it, or the folds do not fit it; a fit failed.
        OptionError: the program has a parameter that is called like an option.
        TransportError: the program cannot be sent to a worker.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 10.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> found = su.infer.cross_validate(model, torch.linspace(-1.0, 1.0, 10), plate="data", seed=0)
        >>> found.elpd_each.shape, round(found.elpd), found.refitted
        ((10,), -12, ())
    """
    mcmc = sampler(model, seed)
    kernel = mcmc.kernel
    program = kernel.kernel.model if isinstance(kernel, DiscreteGibbs) else kernel.model
    refuse_shadowed(program, "cross_validate", _OPTIONS)
    place = isinstance(on, Workers) or on is None
    check_setting("on", place, on, "a place for work or None", OptionError, "give `su.cluster.Local()` or `su.cluster.Ray()`")
    if num_folds is not None and groups is not None:
        raise OptionError("`num_folds` and `groups` were both given. Give one: random folds, or one fold for each group.")
    size = _size(trace(program).get_trace(*args, **kwargs), plate)
    labels, members = _folds(size, num_folds, groups, cast(int, mcmc.seed))
    fits = _PartFits(replace(mcmc, progress=False, cores=mcmc.cores if on is None else 1), plate, size, args, kwargs)
    if num_folds is None:
        elpd, k = fits.by_importance(members)
        left = [g for g in range(len(members)) if not k[g] <= LIMIT]
    else:
        elpd, k, left = np.full(len(members), np.nan), np.full(len(members), np.nan), list(range(len(members)))
    each = np.full(size, np.nan)
    if num_folds is None and groups is None:
        each[:] = elpd
    display, done = display_for(progress), list[int]()
    places: Workers = Here() if on is None else on
    try:
        for number, found in places.map(fits, [members[g] for g in left]):
            if isinstance(found, Lost):
                raise SamplingError(f"the fit without fold {labels[left[number]]!r} has no result: {found.reason}")
            elpd[left[number]], each[members[left[number]]] = found
            done.append(number)
            display.update(lambda: ProgressState(len(done), len(left), (f"{len(done)}/{len(left)} fits",)))
    finally:
        display.close()
    alone = num_folds is not None
    refitted = () if alone else tuple(labels[g] for g in left)
    values = each if alone or groups is None else elpd
    return CrossValidation(values, {} if alone else dict(zip(labels, k.tolist(), strict=True)), refitted, tuple(labels))


def _size(found: Trace, plate: str) -> int:
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
class _PartFits:
    """The fits of one program to parts of its data; a call is one fit, here or in a worker."""

    mcmc: MCMC
    plate: str
    size: int
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def __call__(self, left_out: NDArray[np.intp]) -> tuple[float, Array]:
        """The log predictive density of what is left out, together and of each element, by a fit without it."""
        kept = torch.ones(self.size, dtype=torch.bool)
        kept[left_out] = False
        scores = self._scores(kept, int(left_out[0]) + 1)[:, left_out]
        return _log_mean(scores.sum(axis=1)), np.array([_log_mean(column) for column in scores.T])

    def by_importance(self, members: Sequence[NDArray[np.intp]]) -> tuple[Array, Array]:
        """The same for each fold from one fit to all data, and Pareto's k."""
        scores = self._scores(torch.ones(self.size, dtype=torch.bool), 0)
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
        kernel = self.mcmc.kernel
        inner = kernel.kernel if isinstance(kernel, DiscreteGibbs) else kernel
        program = inner.model
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
        total = np.zeros((posterior.num_chains * posterior.num_samples, self.size))
        for name, values in log_likelihood(program, posterior, *self.args, **self.kwargs).items():
            frame = frames.get(name)
            if frame is not None and frame.dim is not None:
                flat = values.flatten(0, 1).movedim(frame.dim, 1)
                total += flat.reshape(*flat.shape[:2], -1).sum(-1).numpy()
        return total


def _log_mean(values: Array) -> float:
    return float(np.logaddexp.reduce(values) - math.log(len(values)))
