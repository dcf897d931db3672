r"""The slope of a log density along a direction: by its gradient, and by differences of its values.

.. math:: v \cdot \nabla f(q) \quad\text{and}\quad \frac{f(q + h v) - f(q - h v)}{2 h}

Differences are affected by rounding, curvature, kinks and steps. A gradient is reported as wrong only if they agree with one
another over a range of h, at a different slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.compiler.native.rounding import rounding
from sursum.errors import CaptureError

Array = NDArray[np.float64]
Run = Callable[[Array], tuple[float, Array]]

#: Slopes with a smaller relative difference count as equal: iterative and tabulated functions have approximate derivatives.
TOLERANCE = 1e-4
#: The quick check: its step size, and the difference that does not need a thorough check.
_FIRST, _NOTICED = 1e-4, 1e-6
#: The step sizes of the thorough check: 1e-2 to 6e-7.
_STEPS = 1e-2 * 0.25 ** np.arange(8)
#: Number of consecutive steps that must agree, and the tolerance as a fraction of the reported error.
_ROW, _AGREED = 3, 0.01
#: Default rounding error of a value, in units in the last place; and the safety factor for measured rounding errors.
_UNITS, _ALLOWANCE = 100.0, 10.0


@dataclass(frozen=True)
class Slope:
    """One comparison: the slope by the gradient, by differences (NaN if inconclusive), the relative error, and whether
    only a wrong gradient explains it."""

    claimed: float
    measured: float
    error: float
    wrong: bool


class SlopePoint:
    """A log density near one point.

    Args:
        run: its value and gradient.
        replay: the same, by torch's operators: to measure rounding.
        q: the point.
        known: value and gradient there, if known.

    Example:
        >>> def wrong(q):
        ...     return -(q @ q), -3 * q
        >>> point = SlopePoint(wrong, lambda q: (-(q @ q), -3 * q), np.ones(2))
        >>> point.is_suspect(np.array([1.0, 0.0]))
        True
        >>> slope = point.slope(np.array([1.0, 0.0]))
        >>> round(slope.claimed, 3), round(slope.measured, 3), round(slope.error, 3), slope.wrong
        (-3.0, -2.0, 0.333, True)
    """

    def __init__(
        self, run: Run, replay: Callable[[Tensor], Sequence[Tensor]], q: Array, known: tuple[float, Array] | None = None
    ) -> None:
        self._run, self._replay, self.q = run, replay, q
        self.value, self.gradient = known or run(q)

    @property
    def finite(self) -> bool:
        """Whether there is anything to compare."""
        return bool(np.isfinite(self.value) and np.isfinite(self.gradient).all())

    def direction(self, rng: np.random.Generator, start: int = 0, stop: int | None = None) -> Array:
        """A random direction of the coordinates from `start` to `stop`, scaled with their size."""
        lengths = rng.uniform(0.5, 1.5, len(self.q)) * rng.choice([-1.0, 1.0], len(self.q)) * np.maximum(1.0, np.abs(self.q))
        along = np.zeros(len(self.q))
        along[start:stop] = lengths[start:stop]
        return along

    def is_suspect(self, along: Array) -> bool:
        """Whether the slope needs a thorough check: usually computes two values."""
        with np.errstate(all="ignore"):
            parts = self.gradient * along
            claimed, wide = float(parts.sum()), self._central(along, _FIRST)
            allowed = self._floor / _FIRST + _NOTICED * max(abs(claimed), abs(wide), float(np.linalg.norm(parts)))
            if not abs(claimed - wide) > allowed:  # nor where any is NaN
                return False
            narrow = self._central(along, _FIRST / 2)
            return bool(abs(claimed - narrow) > 10.0 * abs(wide - narrow) + allowed)

    def slope(self, along: Array) -> Slope:
        """The comparison along a direction: 17 values, and more if the gradient seems wrong."""
        with np.errstate(all="ignore"):
            right, left = (np.array([self._run(self.q + side * h * along)[0] for h in _STEPS]) for side in (1.0, -1.0))
            value = self._run(self.q)[0]
            forward, backward = (right - value) / _STEPS, (value - left) / _STEPS
            rows = np.lib.stride_tricks.sliding_window_view((forward + backward) / 2, _ROW)
            spreads = np.ptp(rows, axis=1)
            parts = self.gradient * along
            claimed = float(parts.sum())
            if not np.isfinite(spreads).any():
                return Slope(claimed, np.nan, np.nan, False)
            k = int(np.nanargmin(np.where(np.isfinite(spreads), spreads, np.nan)))
            measured, finest = float(np.median(rows[k])), k + _ROW - 1
            apart = abs(claimed - measured)
            scale = max(abs(claimed), abs(measured), float(np.linalg.norm(parts)))
            error = apart / scale if scale else 0.0
            # At a kink any slope between those of its sides is right.
            beyond = max(claimed - max(forward[finest], backward[finest]), min(forward[finest], backward[finest]) - claimed)
            noise = self._floor / _STEPS[finest]
            # For a chaotic function differences are far from the gradient, and from each other.
            steady = spreads[k] < _AGREED * apart and spreads[k] <= max(_AGREED * abs(measured), noise)
            wrong = error > TOLERANCE and steady and beyond > noise and apart > noise
            if wrong:
                values, gradients = self._blur
                noise = _ALLOWANCE * (values / _STEPS[finest] + float(np.abs(along) @ gradients))
                wrong = bool(beyond > noise and apart > noise)
        return Slope(claimed, measured, error, bool(wrong))

    def _central(self, along: Array, h: float) -> float:
        return (self._run(self.q + h * along)[0] - self._run(self.q - h * along)[0]) / (2 * h)

    @property
    def _floor(self) -> float:
        return _UNITS * float(np.finfo(np.float64).eps) * max(1.0, abs(self.value))

    @cached_property
    def _blur(self) -> tuple[float, Array]:
        """The effect of perturbed rounding on value and gradient; NaN if unknown, so that nothing can be decided."""
        try:
            value, gradient = rounding(self._replay, torch.from_numpy(self.q.copy()))
        except CaptureError:
            return 0.0, np.zeros(len(self.q))  # a scan in the program itself, which is not run with other roundings
        except Exception:
            return np.nan, np.full(len(self.q), np.nan)  # rounding decides whether there is a number at all
        return float(value), gradient
