r"""The metric: a linear map A with :math:`A A^\top = M^{-1}`, by which momenta are standard normal.

A position moves by :math:`A p`, and the gradient by p's coordinates is :math:`A^\top g`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIAGONAL, LOW_RANK, DENSE = range(3)


@dataclass(frozen=True, eq=False)
class Metric:
    r"""Diagonal: :math:`A = S`. Low rank: :math:`A = S (I + U^\top F U)` with orthonormal rows U. Dense: A is lower triangular.

    Args:
        kind: one of the three.
        scale: S, (n,).
        vectors: U, (rank, n); A itself, (n, n), of a dense one.
        factors: F, (rank,).

    Example:
        >>> metric = Metric.dense(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> metric.outward(np.array([1.0, 1.0])).tolist(), metric.inward(np.array([1.0, 1.0])).tolist()
        ([2.0, 3.0], [3.0, 2.0])
    """

    kind: int
    scale: Array
    vectors: Array
    factors: Array

    @classmethod
    def diagonal(cls, variances: Array) -> Metric:
        """For these variances of the coordinates, (n,)."""
        return cls(DIAGONAL, np.sqrt(variances), np.empty((0, len(variances))), np.empty(0))

    @classmethod
    def unit(cls, n: int) -> Metric:
        return cls.diagonal(np.ones(n))

    @classmethod
    def low_rank(cls, scale: Array, vectors: Array, eigenvalues: Array) -> Metric:
        """For the covariance S (I + Uᵀ (Λ − I) U) S."""
        return cls(LOW_RANK, scale, np.ascontiguousarray(vectors), np.sqrt(eigenvalues) - 1.0)

    @classmethod
    def dense(cls, covariance: Array) -> Metric:
        """For this covariance, (n, n), positive definite."""
        factor = np.array(np.linalg.cholesky(covariance), dtype=np.float64, order="C")
        return cls(DENSE, np.sqrt(np.diag(covariance)), factor, np.empty(0))

    @property
    def rank(self) -> int:
        return len(self.factors)

    def outward(self, p: Array) -> Array:
        """A p."""
        return self.vectors @ p if self.kind == DENSE else self.scale * self._stretch(p)

    def inward(self, g: Array) -> Array:
        """Aᵀ g."""
        return self.vectors.T @ g if self.kind == DENSE else self._stretch(self.scale * g)

    def _stretch(self, x: Array) -> Array:
        if self.kind == DIAGONAL:
            return x
        found: Array = x + (self.factors * (self.vectors @ x)) @ self.vectors
        return found
