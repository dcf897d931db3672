"""Whether predictions hold what they say: of classes by their probabilities, of numbers by their intervals."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.common.optional_packages import require
from sursum.common.settings import whole_number
from sursum.common.shown import abbreviate
from sursum.common.tables import Headed, Table
from sursum.errors import PredictionError

Array = NDArray[np.float64]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, repr=False)
class Calibrated(Headed):
    r"""What was promised and what happened, group by group, and the interval of 95 % in which that is by chance if all is well.

    Args:
        kind: "reliability" or "coverage".
        promised: the mean probability of a bin, or the level of an interval.
        happened: the share of cases.
        low, high: quantiles 2.5 and 97.5 % of that share if the promise holds.
        count: cases in each group.
        error: the mean absolute difference, weighted by cases: for classes the expected calibration error.
    """

    kind: str
    promised: Array
    happened: Array
    low: Array
    high: Array
    count: NDArray[np.int64]
    error: float

    def outside(self) -> int:
        """How many groups lie outside of their interval: by chance one in twenty."""
        return int(((self.happened < self.low) | (self.happened > self.high)).sum())

    def _table(self) -> Table:
        rows = [("promised", "happened", "by chance", "cases")]
        for one in zip(self.promised, self.happened, self.low, self.high, self.count, strict=True):
            rows.append((f"{one[0]:.3f}", f"{one[1]:.3f}", f"{one[2]:.3f}–{one[3]:.3f}", str(one[4])))
        return Table(rows)

    def _head(self) -> str:
        return (
            f"{self.kind.capitalize()}: promised and happened differ by {self.error:.3f} on average; {self.outside()} of "
            f"{len(self.promised)} groups are outside of what chance allows."
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A plot of what happened against what was promised, with the interval of chance.

        Returns:
            The matplotlib figure, which is also written to `path`, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        figures = require("matplotlib.figure", "A picture")
        figure = figures.Figure(figsize=(4.0, 4.0), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        axes.vlines(self.promised, self.low, self.high, color="0.8", linewidth=6, label="95 % by chance")
        axes.plot(self.promised, self.happened, "o-", color="C0", markersize=4, linewidth=1, label="happened")
        words = ("probability of a class", "share") if self.kind == "reliability" else ("level of the interval", "share inside")
        axes.set(xlabel=words[0], ylabel=words[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(frameon=False, fontsize=8)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def reliability(probabilities: Any, labels: Any, *, num_bins: int = 10) -> Calibrated:
    r"""Of all cases that were given a probability near p, does a share near p come true?

    Every class of every case counts, in `num_bins` bins of equally many; of two classes the probability of the second will do.
    The interval of chance is that of the sum of independent Bernoulli variables with these probabilities.

    Args:
        probabilities: (case,) of the second of two classes, or (case, class), summing to 1: averages over the posterior, such
            as ``nets(x).softmax(-1).mean(0)``.
        labels: (case,), integers from 0.
        num_bins: at most as many as there are cases.

    Raises:
        PredictionError: shapes that do not match, or numbers that are no probabilities.

    References:
        Bröcker, Smith (2007), Increasing the reliability of reliability diagrams, Weather and Forecasting 22.

    Example:
        >>> import torch, sursum as su
        >>> p = torch.rand(2000, generator=torch.Generator().manual_seed(0))
        >>> y = torch.bernoulli(p, generator=torch.Generator().manual_seed(1))
        >>> su.infer.reliability(p, y).outside() <= 2, su.infer.reliability(p**3, y).outside() > 7
        (True, True)
    """
    p, y = _array("probabilities", probabilities), _array("labels", labels)
    if p.ndim not in (1, 2) or y.shape != p.shape[:1] or not len(y):
        raise PredictionError(
            f"`probabilities` has shape {p.shape} and `labels` {y.shape}, but (case,) or (case, class), and (case,), were "
            "expected."
        )
    if not ((p >= 0) & (p <= 1 + 1e-6)).all() or (p.ndim == 2 and np.abs(p.sum(1) - 1).max() > 1e-4):
        raise PredictionError(
            "`probabilities` are not from 0 to 1, or those of a case do not sum to 1. Give softmax, not logits."
        )
    classes = p.shape[1] if p.ndim == 2 else 2
    if (y != np.round(y)).any() or y.min() < 0 or y.max() >= classes:
        raise PredictionError(f"`labels` must be integers from 0 to {classes - 1}, one for each of {classes} classes.")
    true = (np.arange(classes) == y[:, None]).ravel().astype(float) if p.ndim == 2 else y
    flat = p.ravel()
    order = np.argsort(flat, kind="stable")
    bins = np.array_split(order, min(whole_number("num_bins", num_bins, 1, PredictionError, "10 is usual"), len(order)))
    return _calibrate("reliability", bins, flat, true, np.random.default_rng(0), p if p.ndim == 2 else None)


def coverage(draws: Any, observed: Any, *, levels: Any = LEVELS) -> Calibrated:
    r"""Of all central intervals of a predictive distribution at a level, does that share contain what happened?

    Args:
        draws: of the prediction, (draw, *shape) or (chain, draw, *shape), such as ``posterior.predict(x_new)["y"]``.
        observed: what happened, of shape `shape`, not used in the fit.
        levels: of the intervals, in (0, 1).

    Raises:
        PredictionError: shapes that do not match, or levels that are none.

    Example:
        >>> import torch, sursum as su
        >>> g = torch.Generator().manual_seed(0)
        >>> draws, y = torch.randn(4000, 500, generator=g), torch.randn(500, generator=g)
        >>> su.infer.coverage(draws, y).outside(), su.infer.coverage(0.5 * draws, y).outside()
        (0, 10)
    """
    samples, y, at = _array("draws", draws), _array("observed", observed), _array("levels", levels)
    if at.ndim != 1 or not len(at) or not ((at > 0) & (at < 1)).all():
        raise PredictionError(f"`levels` are {levels!r}, but must be numbers between 0 and 1: [0.5, 0.9].")
    if samples.ndim == y.ndim + 2:
        samples = samples.reshape(-1, *samples.shape[2:])
    if samples.ndim != y.ndim + 1 or samples.shape[1:] != y.shape or not samples.size:
        raise PredictionError(
            f"`draws` has shape {samples.shape} and `observed` {y.shape}, but (draw, *shape) or (chain, draw, *shape) was "
            "expected."
        )
    for name, values in (("draws", samples), ("observed", y)):
        if np.isnan(values).any():
            raise PredictionError(
                f"`{name}` has {int(np.isnan(values).sum())} NaN among {values.size} numbers, which lie in no interval. Leave "
                "out the elements that were not observed, and look for the draws at which the program gives NaN."
            )
    from scipy.stats import binom  # type: ignore[import-untyped]

    low, high = np.quantile(samples, (1 - at) / 2, axis=0), np.quantile(samples, (1 + at) / 2, axis=0)
    inside = ((y >= low) & (y <= high)).reshape(len(at), -1)
    count = y.size
    return Calibrated(
        "coverage",
        at,
        inside.mean(1),
        binom.ppf(0.025, count, at) / count,
        binom.ppf(0.975, count, at) / count,
        np.full(len(at), count),
        float(np.abs(inside.mean(1) - at).mean()),
    )


def _calibrate(
    kind: str, bins: list[NDArray[np.intp]], p: Array, true: Array, rng: np.random.Generator, table: Array | None
) -> Calibrated:
    """The groups; chance is simulated, since the classes of a case depend on each other."""
    count, group = np.array([len(one) for one in bins]), np.empty(len(p), dtype=np.int64)
    for k, one in enumerate(bins):
        group[one] = k
    ends = None if table is None else np.cumsum(table, axis=1)
    shares = np.empty((1000, len(bins)))
    for row in shares:  # one at a time: all of them together may not fit into memory
        if ends is None:
            true_now = group[rng.uniform(size=len(p)) < p]
        else:
            chosen = (rng.uniform(size=(len(ends), 1)) * ends[:, -1:] > ends).sum(1)
            true_now = group.reshape(ends.shape)[np.arange(len(ends)), chosen]
        row[:] = np.bincount(true_now, minlength=len(bins)) / count
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    promised, happened = (np.array([values[one].mean() for one in bins]) for values in (p, true))
    return Calibrated(kind, promised, happened, low, high, count, float(np.abs(promised - happened) @ count / count.sum()))


def _array(name: str, values: Any) -> Array:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        found: Array = np.asarray(detached, dtype=np.float64)
    except (TypeError, ValueError):
        raise PredictionError(f"`{name}` is {abbreviate(values)}, but must be a tensor or an array of numbers.") from None
    return found


__all__ = ["Calibrated", "coverage", "reliability"]
