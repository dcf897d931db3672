"""What one sort of the draws gives: normal scores of their ranks, those of the folded draws, and quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SortedDraws:
    """Rows of numbers, sorted once.

    `places` are those of the sorted numbers in the array of all rows, and `values` the sorted numbers, both of shape (p, size).
    """

    places: NDArray[np.intp]
    values: Array

    @classmethod
    def of(cls, rows: Array) -> SortedDraws:
        """The rows of an array of shape (p, size)."""
        places = _everywhere(np.argsort(rows, axis=1))
        return cls(places, rows.ravel()[places])

    def scores(self) -> Array:
        """Normal quantiles of the average ranks within each row, by Blom's offset of 3/8; in the rows' own order.

        Example:
            >>> SortedDraws.of(np.array([[3.0, 1.0, 2.0, 1.0]])).scores().round(2).tolist()
            [[1.05, -0.63, 0.3, -0.63]]
        """
        return self._place(scores_of_ranks(self.values.shape[1])[_sum_of_ends(self.values)])

    def folded_scores(self) -> Array:
        """The same of the distances from the median of the row, |x − median|."""
        size = self.values.shape[1]
        distance = np.abs(self.values - self.median()[:, None])
        # A falling run and a rising one: a stable sort, which looks for runs, only merges them.
        places = _everywhere(np.argsort(distance, axis=1, kind="stable"))
        return self._place(_scatter(places, scores_of_ranks(size)[_sum_of_ends(distance.ravel()[places])]))

    def median(self) -> Array:
        """The median of each row, to the last bit NumPy's."""
        size = self.values.shape[1]
        middle: Array = self.values[:, (size - 1) // 2 : size // 2 + 1].mean(axis=1)
        return middle

    def quantile(self, probability: float) -> Array:
        """A quantile of each row, between two numbers by a line: to the last bit NumPy's.

        Example:
            >>> SortedDraws.of(np.array([[4.0, 0.0, 1.0]])).quantile(0.75).tolist()
            [2.5]
        """
        place = probability * (self.values.shape[1] - 1)
        below = int(np.floor(place))
        low, high = self.values[:, below], self.values[:, min(below + 1, self.values.shape[1] - 1)]
        t = place - below
        between: Array = low + (high - low) * t if t < 0.5 else high - (high - low) * (1.0 - t)
        return between

    def _place(self, values: Array) -> Array:
        """Values of the sorted numbers, where these were."""
        return _scatter(self.places, values)


def _everywhere(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places in each row as places in the array of all rows: one index is several times faster than two."""
    p, size = order.shape
    order += size * np.arange(p)[:, None]
    return order


def _scatter(places: NDArray[np.intp], values: Array) -> Array:
    """An array with `values` at `places`."""
    found = np.empty(values.size)
    found[places.ravel()] = values.ravel()
    return found.reshape(values.shape)


def scores_of_ranks(size: int) -> Array:
    """The normal score of each average rank among `size` numbers, for each sum of the first and last place of equal ones."""
    found: Array = torch.special.ndtri(torch.from_numpy((np.arange(2 * size - 1) / 2.0 + 0.625) / (size + 0.25))).numpy()
    return found


def _sum_of_ends(ordered: Array) -> NDArray[np.intp]:
    """For every entry of sorted rows, the first plus the last index of its group of equal entries: 2 (rank - 1)."""
    p, size = ordered.shape
    place = np.arange(size)
    tied = ordered[:, 1:] == ordered[:, :-1]
    if not tied.any():
        return np.broadcast_to(2 * place, (p, size))
    edge = np.ones((p, 1), dtype=bool)
    begin = np.maximum.accumulate(np.where(np.hstack([edge, ~tied]), place, 0), axis=1)
    ends = np.where(np.hstack([~tied, edge]), place, size)
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    both: NDArray[np.intp] = begin + end
    return both
