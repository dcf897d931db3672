r"""Maximise a log density, by SciPy's L-BFGS and, where that stops short, by Newton's method.

The remaining gain near a maximum is :math:`\tfrac12 g^T H^{-1} g`, with gradient g and negative Hessian H
(half the squared Newton decrement). It does not depend on the scales of the coordinates, so it, rather than a norm
of the gradient, decides whether the maximum has been found.

References:
    Liu, Nocedal (1989), On the limited memory BFGS method for large scale optimization, Mathematical Programming 45.
    Boyd, Vandenberghe (2004), Convex Optimization, section 9.5.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sursum.optimise.curvature import curvature

Array = NDArray[np.float64]
ValueAndGrad = Callable[[Array], tuple[float, Array]]

ENOUGH = 1e-6
"""The remaining gain in log density below which a maximum counts as found: about a thousandth of a standard error."""

_FINE = 1e-13
_ROUGH = 1e-8
_NOTHING = 1e-16
_NEWTON_STEPS = 20
_CHORDS = 3
_NEWTON_DIM = 500
_CHEAP_DIM = 50
_UNBOUNDED = 1e12
_HALVINGS = 30
_ESCAPES = 20


@dataclass(frozen=True)
class Iterate:
    """A point with the log density and its gradient."""

    q: Array
    value: float
    gradient: Array


@dataclass(frozen=True)
class Maximum:
    """Where an optimiser ended: `gain` is the estimated remaining gain, and `reason` the optimiser's own message."""

    point: Iterate
    steps: int
    gain: float
    reason: str
    definite: bool = False
    """Whether second derivatives have shown that it is a strict maximum."""

    @property
    def converged(self) -> bool:
        """Whether it is a maximum, as far as double precision can tell for a sum of that size."""
        return bool(self.gain <= max(ENOUGH, 1e-15 * abs(self.point.value)) and self.point.value < _UNBOUNDED)


@dataclass(eq=False)
class Climb:
    """The objective of a minimiser, the negative log density, and the points that the minimiser accepted.

    Where the log density is not finite, the line search gets a finite value with an upward slope, which it
    cannot accept and which makes it halve its step.
    """

    value_and_grad: ValueAndGrad
    path: list[Iterate] = field(default_factory=list)
    _last: Iterate | None = None

    def __call__(self, q: Array) -> tuple[float, Array]:
        value, gradient = self.value_and_grad(q)
        if _finite(value, gradient):
            self._last = Iterate(q.copy(), value, gradient)
            return -value, -gradient
        at = self.path[-1]
        fall = abs(float(at.gradient @ (q - at.q)))
        return -at.value + fall, at.gradient.copy()

    def rest(self, q: Array) -> None:
        """The minimiser has accepted `q`."""
        if self._last is None or not (self._last.q == q).all():
            self._last = Iterate(q.copy(), *self.value_and_grad(q))
        self.path.append(self._last)
        if self._last.value > _UNBOUNDED:
            raise StopIteration


def _finite(value: float, gradient: Array) -> bool:
    return math.isfinite(value) and bool(np.isfinite(gradient).all())


def lbfgs(
    value_and_grad: ValueAndGrad, start: Iterate, num_steps: int, history: int = 10, ftol: float = _FINE
) -> tuple[list[Iterate], float, str]:
    """The path of L-BFGS, including `start`; the remaining gain, by its own Hessian estimate; its message.
    It ends when a step gains no more than `ftol` of the value."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    climb = Climb(value_and_grad, [start])
    found = minimize(
        climb,
        start.q,
        jac=True,
        method="L-BFGS-B",
        callback=lambda q: climb.rest(q),
        options={"maxiter": num_steps, "maxfun": 20 * num_steps, "maxcor": history, "ftol": ftol, "gtol": 1e-9},
    )
    gradient = climb.path[-1].gradient
    with np.errstate(over="ignore", invalid="ignore"):
        gain = 0.5 * float(gradient @ found.hess_inv.dot(gradient))
    return climb.path, gain, str(found.message)


def maximise(value_and_grad: ValueAndGrad, start: Iterate, num_steps: int) -> Maximum:
    """The local maximum that is reached uphill from `start`.

    If that ends at a saddle or a minimum, as from a point of symmetry, the search continues along the direction that curves
    upwards most.
    """
    found = _climb(value_and_grad, start, num_steps)
    for _ in range(_ESCAPES):
        if not found.converged or found.steps >= num_steps or len(start.q) > _NEWTON_DIM:
            break
        higher = _higher(value_and_grad, found)
        if higher is None:
            break
        on = _climb(value_and_grad, higher, num_steps - found.steps)
        found = replace(on, steps=found.steps + 1 + on.steps)
    return found


def _higher(value_and_grad: ValueAndGrad, found: Maximum) -> Iterate | None:
    """A point near a stationary one that is higher than is possible near a maximum; None if there is none."""
    if found.definite:
        return None
    point = found.point
    bend = curvature(value_and_grad, point.q, precise=False)
    if not bend.values.min(initial=0.0) < 0.0:
        return None
    along = bend.scales * bend.vectors[:, int(bend.values.argmin())]
    least = point.value + max(ENOUGH, 1e-13 * abs(point.value))
    for k in range(_HALVINGS):
        # The foremost element goes up first: which of two mirror images is reached does not depend on a library's signs.
        for sign in np.sign(along[np.abs(along).argmax()]) * np.array([1.0, -1.0]):
            q = point.q + sign * 0.5**k * along
            value, gradient = value_and_grad(q)
            if _finite(value, gradient) and value > least:
                return Iterate(q, value, gradient)
    return None


def _climb(value_and_grad: ValueAndGrad, start: Iterate, num_steps: int) -> Maximum:
    """The stationary point that is reached uphill from `start`."""
    before = 0
    if _CHEAP_DIM < len(start.q) <= _NEWTON_DIM:
        # The last hundred steps of L-BFGS take several times as long as the two Newton steps that replace them.
        path, gain, reason = lbfgs(value_and_grad, start, num_steps, ftol=_ROUGH)
        rough = Maximum(path[-1], len(path) - 1, gain, reason)
        if rough.steps >= num_steps or rough.point.value > _UNBOUNDED:
            return rough
        found = _newton(value_and_grad, rough)
        if found.converged and found.gain != rough.gain:  # not on a ridge, where only the estimate of L-BFGS is available
            return found
        start, before = found.point, found.steps
    path, gain, reason = lbfgs(value_and_grad, start, num_steps - before)
    found = Maximum(path[-1], before + len(path) - 1, gain, reason)
    # Where L-BFGS has clearly converged, a further check is cheap only for a few coordinates.
    wanted = len(start.q) <= _NEWTON_DIM if found.gain > 1e-2 * ENOUGH else len(start.q) <= _CHEAP_DIM
    if wanted and found.point.value <= _UNBOUNDED:
        found = _newton(value_and_grad, found)
    return found


def _newton(value_and_grad: ValueAndGrad, found: Maximum) -> Maximum:
    """Newton's method from where L-BFGS has ended. It recomputes the remaining gain, which L-BFGS only estimates."""
    point, steps, gain = found.point, found.steps, found.gain
    for _ in range(_NEWTON_STEPS):
        bend = curvature(value_and_grad, point.q, precise=False)
        if not bend.definite:
            # A ridge or a saddle: the Hessian cannot be inverted, and the verdict of L-BFGS remains.
            return Maximum(point, steps, found.gain, found.reason)
        for _ in range(_CHORDS):
            step = bend.solve(point.gradient)
            gain = 0.5 * float(point.gradient @ step)
            better = _uphill(value_and_grad, point, step) if gain > _NOTHING * max(1.0, abs(point.value)) else None
            if better is None:
                return Maximum(point, steps, gain, found.reason, definite=True)
            point, steps = better, steps + 1
    return Maximum(point, steps, gain, found.reason, definite=True)


def _uphill(value_and_grad: ValueAndGrad, point: Iterate, step: Array) -> Iterate | None:
    """The first of `step`, half of it, a quarter … that leads uphill, up to rounding near the top."""
    slack = 1e-14 * abs(point.value)
    for k in range(_HALVINGS):
        q = point.q + 0.5**k * step
        value, gradient = value_and_grad(q)
        if _finite(value, gradient) and value >= point.value - slack:
            return Iterate(q, value, gradient)
    return None
