"""`many`: one program and many data sets, each with a posterior of its own."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sursum.cluster import Lost, Workers
from sursum.cluster.workers import Here
from sursum.common.progress import ProgressState, display_for
from sursum.common.settings import check_setting
from sursum.core.calling import check_program
from sursum.draws.summary import Summary
from sursum.errors import OptionError, SamplingError, SursumError
from sursum.mcmc import MCMC, NUTS
from sursum.studies.study import Study, StudyFailure, StudyInterrupted
from sursum.studies.study_parts import Fitted, StudyParts, arguments

LARGEST = 32
"""How many data sets a worker is given at once, at most; what is interrupted loses at most these."""

Item = tuple[int, Any]


def many(
    model: MCMC | Callable[..., Any],
    data_sets: Iterable[Any],
    *,
    seed: int | None = None,
    on: Workers | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Study:
    """Sample the posterior of each data set, and keep a summary of each.

    The posterior of data set k is the same whatever the other data sets, the workers and their number. One that fails is in
    `Study.failures` and does not end the others.

    Args:
        model: a sampler with its settings, or a program, which is sampled by NUTS with 2 chains of 500 + 500 draws.
        data_sets: for each the arguments of the program: a tuple, a mapping of keyword arguments, or a single argument.
        seed: of the whole study; by default that of the sampler, or one from torch's global generator.
        on: where: None for this process, `su.cluster.Local()` for its cores, `su.cluster.Ray()` for a cluster.
        store: a folder for the finished summaries. If it has some of the same program, settings and data, these are not
            computed again: repeat the call to continue after an interruption, or to try those that failed once more.
        progress: whether to show it; None shows it on a terminal or in a notebook.

    Raises:
        SamplingError: there are no data sets.
        OptionError: `on` is not a place for work.
        TransportError: the program, or a data set, cannot be sent to a worker.
        StorageError: the store is of a study of a different program, or with other settings, or cannot be written.
        StudyInterrupted: Ctrl-C ended the study; its `study` has what is finished.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 10.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> study = su.infer.many(model, [torch.linspace(-1.0, 1.0, 20) + k for k in range(3)], seed=0)
        >>> study["mu", "mean"].round().astype(int).tolist()
        [0, 1, 2]
        >>> study.failures
        {}
    """
    mcmc = sampler(model, seed)
    items: list[Item] = list(enumerate(data_sets))
    if not items:
        raise SamplingError("`data_sets` is empty, and a study needs at least one data set. Give an iterable of them.")
    place = isinstance(on, Workers) or on is None
    check_setting("on", place, on, "a place for work or None", OptionError, "give `su.cluster.Local()` or `su.cluster.Ray()`")
    saved = None if store is None else StudyParts.opened(Path(store), mcmc, items)
    found: dict[int, Summary | StudyFailure] = {} if saved is None else dict(saved.read())
    chunks = list(_chunks([item for item in items if item[0] not in found], workers=0 if on is None else 64))
    task = _Fits(replace(mcmc, progress=False, cores=mcmc.cores if on is None else 1))
    display = display_for(progress)
    places: Workers = Here() if on is None else on
    try:
        with contextlib.closing(cast(Any, places.map(task, chunks))) as finished:
            for number, results in finished:
                if isinstance(results, Lost):
                    results = [(k, StudyFailure("Lost", results.reason)) for k, _ in chunks[number]]
                found.update((k, one.summary if isinstance(one, Fitted) else one) for k, one in results)
                if saved is not None:
                    saved.write(results)
                display.update(lambda: _state(found, len(items)))
    except KeyboardInterrupt:
        raise StudyInterrupted(Study.of(found, len(items))) from None
    finally:
        display.close()
    return Study.of(found, len(items))


def sampler(model: MCMC | Callable[..., Any], seed: int | None) -> MCMC:
    """What is given to a study, as a sampler that has a seed."""
    if isinstance(model, MCMC):
        mcmc = model if seed is None else replace(model, seed=seed)
    else:
        check_program("model", model, SamplingError)
        mcmc = MCMC(NUTS(model), num_warmup=500, num_samples=500, num_chains=2, seed=seed)
    return mcmc if mcmc.seed is not None else replace(mcmc, seed=int(torch.randint(2**31, ())))


def _chunks(items: Sequence[Item], workers: int) -> Iterator[Sequence[Item]]:
    """Data sets that are sent together: few enough that all workers have work, and that little is lost."""
    size = min(LARGEST, max(1, len(items) // workers)) if workers else 1
    return (items[i : i + size] for i in range(0, len(items), size))


def _state(found: Mapping[int, Any], total: int) -> ProgressState:
    failed = sum(isinstance(one, StudyFailure) for one in found.values())
    return ProgressState(len(found), total, (f"{len(found)}/{total} data sets", *([f"{failed} failed"] if failed else [])))


@dataclass(frozen=True)
class _Fits:
    """What a worker does with some data sets."""

    mcmc: MCMC

    def __call__(self, chunk: Sequence[Item]) -> list[tuple[int, Fitted | StudyFailure]]:
        return [(number, self._fit(number, data)) for number, data in chunk]

    def _fit(self, number: int, data: Any) -> Fitted | StudyFailure:
        args, kwargs = arguments(data)
        seed = np.random.SeedSequence(cast(int, self.mcmc.seed), spawn_key=(number,)).generate_state(1, np.uint64)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what concerns the draws is in the summary
                return Fitted.of(replace(self.mcmc, seed=int(seed[0])).run(*args, **kwargs))
        except SursumError as error:
            return StudyFailure(type(error).__name__, str(error))
        except Exception as error:
            return StudyFailure(type(error).__name__, str(error) or "without a message")
