"""`many`: one program and many data sets, each with a posterior of its own."""

from __future__ import annotations

import contextlib
import hashlib
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
from sursum.errors import OptionError, SamplingError, StorageError, SursumError
from sursum.io import npz
from sursum.mcmc import MCMC, NUTS
from sursum.studies.study import Study, StudyFailure, StudyInterrupted

KIND, VERSION = "study", 1
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
        store: a folder for the finished summaries. If it has some of the same settings and data, these are not computed again:
            repeat the call to continue after an interruption, or to try those that failed once more.
        progress: whether to show it; None shows it on a terminal or in a notebook.

    Raises:
        SamplingError: there are no data sets.
        OptionError: `on` is not a place for work.
        TransportError: the program, or a data set, cannot be sent to a worker.
        StorageError: the store is of a study with other settings, or cannot be written.
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
    saved = None if store is None else _StudyParts.opened(Path(store), mcmc, items)
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
                found.update(results)
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

    def __call__(self, chunk: Sequence[Item]) -> list[tuple[int, Summary | StudyFailure]]:
        return [(number, self._fit(number, data)) for number, data in chunk]

    def _fit(self, number: int, data: Any) -> Summary | StudyFailure:
        args, kwargs = _arguments(data)
        seed = np.random.SeedSequence(cast(int, self.mcmc.seed), spawn_key=(number,)).generate_state(1, np.uint64)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what concerns the draws is in the summary
                return replace(self.mcmc, seed=int(seed[0])).run(*args, **kwargs).summary()
        except SursumError as error:
            return StudyFailure(type(error).__name__, str(error))
        except Exception as error:
            return StudyFailure(type(error).__name__, str(error) or "without a message")


def _arguments(data: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(data, Mapping):
        return (), {str(key): value for key, value in data.items()}
    return (data if isinstance(data, tuple) else (data,)), {}


@dataclass(frozen=True)
class _StudyParts:
    """The folder of a study: files of some summaries each, which appear when they are whole."""

    folder: Path
    settings: Mapping[str, Any]
    keys: Mapping[int, str]

    @classmethod
    def opened(cls, folder: Path, mcmc: MCMC, items: Sequence[Item]) -> _StudyParts:
        settings = {name: getattr(mcmc, name) for name in ("num_warmup", "num_samples", "num_chains", "seed")}
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, settings, {number: _key(data) for number, data in items})

    def read(self) -> Iterator[tuple[int, Summary]]:
        """The summaries that are there already, of data that have not changed."""
        for path in sorted(self.folder.glob("part-*.npz")):
            note, arrays = npz.read(path, KIND, VERSION)
            if note["settings"] != self.settings:
                different = [name for name, value in self.settings.items() if note["settings"].get(name) != value]
                raise StorageError(
                    f"{os.fspath(self.folder)!r} is the store of a study with a different `{different[0]}` "
                    f"({note['settings'].get(different[0])}, and not {self.settings[different[0]]}). Give the same settings to "
                    "continue it, or a different folder."
                )
            for item in note["items"]:
                number = item["number"]
                if self.keys.get(number) != item["key"]:
                    continue
                sites = {
                    name: {column: arrays[f"{number}/{name}/{column}"] for column in item["columns"]} for name in item["sites"]
                }
                yield number, Summary(sites, tuple(item["warnings"]))

    def write(self, results: Sequence[tuple[int, Summary | StudyFailure]]) -> None:
        """Save what did not fail."""
        whole = [(number, one) for number, one in results if isinstance(one, Summary)]
        if not whole:
            return
        arrays = {
            f"{number}/{name}/{column}": values
            for number, one in whole
            for name, columns in one.items()
            for column, values in columns.items()
        }
        items = [
            {
                "number": number,
                "key": self.keys[number],
                "sites": list(one),
                "columns": list(next(iter(one.values()), {})),
                "warnings": one.warnings,
            }
            for number, one in whole
        ]
        first = self.folder / f"part-{whole[0][0]:08}-{self.keys[whole[0][0]][:8]}.npz"
        npz.write(first, KIND, VERSION, {"settings": self.settings, "items": items}, arrays)


def _key(data: Any) -> str:
    """A fingerprint of data: tensors and arrays by their bytes, other things by how they are written."""
    digest = hashlib.blake2b(digest_size=16)

    def add(part: Any) -> None:
        if isinstance(part, Mapping):
            for name, value in part.items():
                digest.update(f"{name}=".encode())
                add(value)
        elif isinstance(part, (list, tuple)):
            digest.update(f"{type(part).__name__}{len(part)}".encode())
            for value in part:
                add(value)
        elif isinstance(part, torch.Tensor) or hasattr(part, "__array__"):
            array = np.ascontiguousarray(part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part))
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes() if array.dtype != object else repr(array.tolist()).encode())
        else:
            digest.update(repr(part).encode())

    add(data)
    return digest.hexdigest()
