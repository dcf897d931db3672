r"""Gaussians along the path of a quasi-Newton optimiser: the inverse Hessian estimate at each point is a covariance.

.. math:: \Sigma = \mathrm{diag}(\alpha) + \beta \gamma \beta^T, \qquad \mu = q + \Sigma\, \nabla \log p(q)

with :math:`\beta` of shape (n, 2J) for a history of J steps, so that a draw costs O(nJ).

References:
    Zhang, Carpenter, Gelman, Vehtari (2022), Pathfinder: Parallel quasi-Newton variational inference, JMLR 23,
    algorithms 3 and 4. Gilbert, Lemaréchal (1989), Some numerical experiments with variable-storage quasi-Newton
    algorithms. Byrd, Nocedal, Schnabel (1994), Representations of quasi-Newton matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sursum.optimise.maximise import Iterate

Array = NDArray[np.float64]

_CURVED = 1e-12


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution with covariance diag(α)^½ (I + Q (L Lᵀ − I) Qᵀ) diag(α)^½, Q having orthonormal columns."""

    mean: Array
    scale: Array
    frame: Array
    factor: Array

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws, (count, n), and their log densities, (count,)."""
        noise = rng.standard_normal((count, len(self.mean)))
        inside = noise @ self.frame
        turned = noise + (inside @ self.factor.T - inside) @ self.frame.T
        log_det = np.log(self.scale).sum() + np.log(np.diag(self.factor)).sum()
        log_density: Array = -0.5 * (noise**2).sum(1) - log_det - 0.5 * len(self.mean) * np.log(2.0 * np.pi)
        return self.mean + self.scale * turned, log_density

    @property
    def covariance(self) -> Array:
        """Σ, (n, n)."""
        n = len(self.mean)
        inner = self.factor @ self.factor.T - np.eye(self.factor.shape[0])
        middle = np.eye(n) + self.frame @ inner @ self.frame.T
        covariance: Array = self.scale[:, None] * middle * self.scale
        return covariance


def gaussians(path: Sequence[Iterate], history: int) -> Iterator[Gaussian]:
    """The Gaussian at every point of a path but the first, from the last `history` steps before it.

    A step along which the gradient hardly falls carries no information about curvature, and is skipped.
    """
    alpha = np.ones(len(path[0].q))
    steps: list[Array] = []
    falls: list[Array] = []
    for before, point in pairwise(path):
        step, fall = point.q - before.q, before.gradient - point.gradient
        if _has_curvature(step, fall):
            alpha = _diagonal(alpha, step, fall)
            steps, falls = [*steps, step][-history:], [*falls, fall][-history:]
        made = _gaussian(point, alpha, np.array(steps).T, np.array(falls).T) if steps else None
        if made is not None:
            yield made


def _has_curvature(step: Array, fall: Array) -> bool:
    """Whether the gradient falls along a step; False if its square overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        along = step @ fall
        return bool(along > _CURVED * (fall @ fall) and along > 0.0)


def _diagonal(alpha: Array, step: Array, fall: Array) -> Array:
    """The diagonal of the inverse Hessian after a step (algorithm 3)."""
    a, b, c = fall @ (alpha * fall), fall @ step, step @ (step / alpha)
    updated: Array = 1.0 / (a / (b * alpha) + fall**2 / b - a * step**2 / (b * c * alpha**2))
    return updated


def _gaussian(point: Iterate, alpha: Array, steps: Array, falls: Array) -> Gaussian | None:
    """The Gaussian at a point (algorithm 4); None if rounding has destroyed the covariance."""
    cross = np.triu(steps.T @ falls)
    inverse = np.linalg.inv(cross)
    beta = np.hstack([alpha[:, None] * falls, steps])
    corner = inverse.T @ (np.diag(np.diag(cross)) + falls.T @ (alpha[:, None] * falls)) @ inverse
    gamma = np.block([[np.zeros_like(cross), -inverse], [-inverse.T, corner]])
    scale = np.sqrt(alpha)
    frame, upper = np.linalg.qr(beta / scale[:, None])
    try:
        factor = np.linalg.cholesky(np.eye(len(upper)) + upper @ gamma @ upper.T)
    except np.linalg.LinAlgError:
        return None
    mean = point.q + alpha * point.gradient + beta @ (gamma @ (beta.T @ point.gradient))
    return Gaussian(mean, scale, frame, factor)
