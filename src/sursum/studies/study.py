"""`Study`: the summaries of many posteriors, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sursum.common.patterns import suggestion
from sursum.common.tables import Shown
from sursum.draws.summary import COLUMNS, Summary
from sursum.errors import SamplingError


@dataclass(frozen=True)
class StudyFailure:
    """Why a data set has no posterior: the name of the error, and its message."""

    error: str
    message: str

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"


@dataclass(frozen=True, repr=False)
class Study(Shown):
    """A summary of each data set's posterior.

    ``study[k]`` is the summary of data set k; ``study["mu", "mean"]`` is a column of a site over all data sets, float64 of
    shape (data set, *shape of the site), NaN for those that failed.

    Args:
        summaries: by the number of the data set, those that did not fail.
        failures: by the number of the data set.
        size: how many data sets there are, including those that an interruption left out.
    """

    summaries: Mapping[int, Summary]
    failures: Mapping[int, StudyFailure]
    size: int

    @classmethod
    def of(cls, found: Mapping[int, Summary | StudyFailure], size: int) -> Study:
        """From the results of each data set, in any order."""
        ordered = [(number, found[number]) for number in sorted(found)]
        return cls(
            {number: one for number, one in ordered if isinstance(one, Summary)},
            {number: one for number, one in ordered if isinstance(one, StudyFailure)},
            size,
        )

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: int | tuple[str, str]) -> Summary | NDArray[np.float64]:
        if isinstance(key, tuple):
            return self._column(*key)
        number = key + self.size if key < 0 else key
        if number in self.summaries:
            return self.summaries[number]
        if number in self.failures:
            raise SamplingError(f"data set {number} has no posterior: {self.failures[number]}")
        raise SamplingError(
            f"data set {number} was not sampled: there are {self.size}, and {len(self.summaries)} are finished."
        )

    def _column(self, site: str, column: str) -> NDArray[np.float64]:
        if column not in COLUMNS:
            raise SamplingError(f"a summary has no column {column!r}.{suggestion(column, COLUMNS)}")
        values = {number: one[site][column] for number, one in self.summaries.items() if site in one}
        if not values:
            names = {name for one in self.summaries.values() for name in one}
            raise SamplingError(f"no data set has a site {site!r}.{suggestion(site, names)}")
        shapes = {value.shape for value in values.values()}
        if len(shapes) > 1:
            raise SamplingError(
                f"the shape of {site!r} depends on the data set ({', '.join(map(str, sorted(shapes)))}): take it from the "
                f"summaries one by one, `study[k][{site!r}]`."
            )
        found = np.full((self.size, *shapes.pop()), np.nan)
        for number, value in values.items():
            found[number] = value
        return found

    def __str__(self) -> str:
        parts = [f"{self.size} data sets, {len(self.summaries)} posteriors"]
        if self.failures:
            first = next(iter(self.failures.items()))
            parts.append(f"{len(self.failures)} failed, the first at {first[0]}: {first[1]}")
        if left := self.size - len(self.summaries) - len(self.failures):
            parts.append(f"{left} not sampled")
        warned = sum(bool(one.warnings) for one in self.summaries.values())
        if warned:
            parts.append(f"{warned} with warnings")
        return "; ".join(parts) + "."

    def __repr__(self) -> str:
        return f"<Study: {self}>"


class StudyInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a study; `study` has what is finished."""

    def __init__(self, study: Study) -> None:
        super().__init__(f"The study was interrupted: {study} What is finished is the attribute `study` of this exception.")
        self.study = study
