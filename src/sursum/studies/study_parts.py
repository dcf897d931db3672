"""The folder of a study: summaries that are finished, and whose they are."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sursum.common.fingerprint import fingerprint
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.draws.summary import Summary
from sursum.errors import StorageError
from sursum.io import npz
from sursum.mcmc import MCMC
from sursum.mcmc.extend import LIKE
from sursum.posterior.posterior import Posterior
from sursum.studies.study import StudyFailure

KIND, VERSION = "study", 2

Item = tuple[int, Any]


@dataclass(frozen=True)
class Fitted:
    """The summary of a posterior, and by what its program is known again: the log density at the last draw of the first chain.

    Args:
        point: this draw, in unconstrained coordinates, whose names are `coordinates`.
        value: the log density there.
    """

    summary: Summary
    coordinates: tuple[str, ...]
    point: NDArray[np.float64]
    value: float

    @classmethod
    def of(cls, posterior: Posterior) -> Fitted:
        """The summary of a posterior."""
        point, value = np.array(posterior.unconstrained[0, -1]), float(posterior.stats["lp"][0, -1])
        return cls(posterior.summary(), tuple(posterior.coordinates), point, value)


def arguments(data: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """What a program is called with for one data set."""
    if isinstance(data, Mapping):
        return (), {str(key): value for key, value in data.items()}
    return (data if isinstance(data, tuple) else (data,)), {}


@dataclass(frozen=True)
class StudyParts:
    """The folder of a study: files of some summaries each, which appear when they are whole."""

    folder: Path
    settings: Mapping[str, Any]
    keys: Mapping[int, str]
    model: Callable[..., Any]
    data: Mapping[int, Any]

    @classmethod
    def opened(cls, folder: Path, mcmc: MCMC, items: Sequence[Item]) -> StudyParts:
        settings = {name: getattr(mcmc, name) for name in ("num_warmup", "num_samples", "num_chains", "thin", "seed")}
        settings |= {"kernel": _written(mcmc.kernel)}
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, settings, {number: fingerprint(data) for number, data in items}, mcmc.kernel.model, dict(items))

    def read(self) -> Iterator[tuple[int, Summary]]:
        """The summaries that are there already, of data that have not changed."""
        checked = False
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
                if not checked:  # a study has one program, of which one density is enough
                    self._check(number, item["coordinates"], arrays[f"{number}//point"], item["value"])
                    checked = True
                sites = {
                    name: {column: arrays[f"{number}/{name}/{column}"] for column in item["columns"]} for name in item["sites"]
                }
                yield number, Summary(sites, tuple(item["warnings"]))

    def _check(self, number: int, names: Sequence[str], point: NDArray[np.float64], value: float) -> None:
        """Raise StorageError unless the log density of a data set is what it was at the last draw."""
        args, kwargs = arguments(self.data[number])
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                density = LogDensity(rolled(self.model), args, kwargs)
                same = density.coordinate_names() == list(names)
                now = float(density(torch.from_numpy(point))) if same else math.nan
        except Exception as error:
            raise self._of_other_program(number, f"it raises {type(error).__name__}: {error}") from error
        if not abs(now - value) <= LIKE * max(1.0, abs(value)):
            why = f"its log density at a draw is {now:.6g}, and was {value:.6g}" if same else "it has different unknowns"
            raise self._of_other_program(number, why)

    def _of_other_program(self, number: int, why: str) -> StorageError:
        return StorageError(
            f"{os.fspath(self.folder)!r} is the store of a study of a different program: for data set {number} {why}. Give the "
            "same program to continue it, or a different folder."
        )

    def write(self, results: Sequence[tuple[int, Fitted | StudyFailure]]) -> None:
        """Save what did not fail."""
        whole = [(number, one) for number, one in results if isinstance(one, Fitted)]
        if not whole:
            return
        arrays = {
            f"{number}/{name}/{column}": values
            for number, one in whole
            for name, columns in one.summary.items()
            for column, values in columns.items()
        }
        arrays |= {f"{number}//point": one.point for number, one in whole}
        items = [
            {
                "number": number,
                "key": self.keys[number],
                "sites": list(one.summary),
                "columns": list(next(iter(one.summary.values()), {})),
                "warnings": one.summary.warnings,
                "coordinates": one.coordinates,
                "value": one.value,
            }
            for number, one in whole
        ]
        first = self.folder / f"part-{whole[0][0]:08}-{self.keys[whole[0][0]][:8]}.npz"
        npz.write(first, KIND, VERSION, {"settings": self.settings, "items": items}, arrays)


def _written(kernel: Any) -> str:
    """A kernel with its settings, without its program."""
    inner = getattr(kernel, "kernel", None)
    metric = kernel.metric if isinstance(kernel.metric, str) else fingerprint(kernel.metric)
    sites = f", sites={kernel.sites}" if inner is not None else ""
    kind = type(kernel).__name__ if inner is None else f"{type(kernel).__name__} of {type(inner).__name__}"
    return f"{kind}({', '.join(f'{name}={value}' for name, value in sorted(kernel.fields().items()))}, metric={metric}{sites})"
