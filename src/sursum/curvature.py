r"""The second derivatives of a log density at a point, and the Gaussian that they describe.

With :math:`A = -\nabla^2 \log p(q)` the Gaussian :math:`N(q, A^{-1})` has the same peak: its covariance gives standard
errors and Laplace's approximation. A is taken from differences of the compiled gradient, over steps of a thousandth of
each coordinate's own scale :math:`A_{ii}^{-1/2}`, by the formula of fourth order

.. math:: g'(0) \approx \frac{8\,(g(h) - g(-h)) - (g(2h) - g(-2h))}{12\,h}

whose error is some 1e-12 of A in double precision, rounding included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ValueAndGrad = Callable[[Array], tuple[float, Array]]

_FIRST = 6e-6
_STEP = 1e-3
_SINGULAR = 1e-9


@dataclass(frozen=True)
class Curvature:
    """Minus the second derivatives at a point, (n, n), symmetric.

    Example:
        >>> import numpy as np
        >>> bend = curvature(lambda q: (-2.0 * float(q @ q), -4.0 * q), np.zeros(2))
        >>> bend.definite, np.round(np.diag(bend.matrix), 6).tolist(), np.round(np.diag(bend.factor), 6).tolist()
        (True, [4.0, 4.0], [0.5, 0.5])
    """

    matrix: Array
    scales: Array
    values: Array
    vectors: Array

    @property
    def definite(self) -> bool:
        """Whether there is a strict maximum: all eigenvalues are positive, in coordinates scaled by the diagonal."""
        return bool(np.isfinite(self.values).all() and (self.values > _SINGULAR * self.values.max(initial=0.0)).all())

    @property
    def factor(self) -> Array:
        """F, (n, n), with F Fᵀ = A⁻¹, symmetric up to the scales: columns are independent directions of unit density."""
        root: Array = self.scales[:, None] * (self.vectors / np.sqrt(self.values)) @ self.vectors.T
        return root

    @property
    def log_det(self) -> float:
        """log det A."""
        return float(np.log(self.values).sum() - 2.0 * np.log(self.scales).sum())

    def solve(self, right: Array) -> Array:
        """A⁻¹ times a vector."""
        turned = self.vectors.T @ (self.scales * right)
        solution: Array = self.scales * (self.vectors @ (turned / self.values))
        return solution

    def flat(self) -> list[int]:
        """The coordinates that make up the directions in which there is no strict maximum, the foremost first."""
        low = ~(self.values > _SINGULAR * np.nanmax(self.values, initial=0.0))
        share = np.abs(self.vectors[:, low]).max(axis=1, initial=0.0)
        return [int(i) for i in np.argsort(-share) if share[i] > 0.1]


def curvature(value_and_grad: ValueAndGrad, q: Array) -> Curvature:
    """Minus the second derivatives of a log density at q, by 6 n gradients."""
    n = len(q)
    near = np.empty(n)
    for i in range(n):
        h = _FIRST * max(1.0, abs(q[i]))
        near[i] = _slope(value_and_grad, q, i, h)[i]
    with np.errstate(divide="ignore", invalid="ignore"):
        # A coordinate without curvature of its own has no scale of its own.
        own = np.where(np.abs(near) > 0.0, 1.0 / np.sqrt(np.abs(near)), 1.0)
    own = np.clip(np.nan_to_num(own, nan=1.0), 1e-8 * np.maximum(1.0, np.abs(q)), 1e3 * np.maximum(1.0, np.abs(q)))
    rows = np.empty((n, n))
    for i in range(n):
        h = _STEP * own[i]
        rows[i] = (4.0 * _slope(value_and_grad, q, i, h) - _slope(value_and_grad, q, i, 2.0 * h)) / 3.0
    matrix = -(rows + rows.T) / 2.0
    diagonal = np.abs(np.diag(matrix))
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.where(diagonal > 0.0, 1.0 / np.sqrt(diagonal), 1.0)
    scaled = matrix * scales[:, None] * scales
    if not np.isfinite(scaled).all():
        nothing = np.full(n, np.nan)
        return Curvature(matrix, scales, nothing, np.eye(n))
    values, vectors = np.linalg.eigh(scaled)
    return Curvature(matrix, scales, values, vectors)


def _slope(value_and_grad: ValueAndGrad, q: Array, i: int, h: float) -> Array:
    """The derivative of the gradient along coordinate i, by a central difference over h."""
    ahead, behind = q.copy(), q.copy()
    ahead[i] += h
    behind[i] -= h
    (above, rising), (below, falling) = value_and_grad(ahead), value_and_grad(behind)
    if not (np.isfinite(above) and np.isfinite(below)):
        return np.full(len(q), np.nan)
    slope: Array = (rising - falling) / (ahead[i] - behind[i])
    return slope
