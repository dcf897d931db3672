"""A log density in transformed coordinates, to be compiled and sampled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOOKS = 400
"""Points tried for a density with bounds, where few of those around the start are inside."""

Array = NDArray[np.float64]

STEPS = tuple(sign * 2.0**k for k in range(-1, 11) for sign in (-1.0, 1.0))
"""How far a coordinate is perturbed to see whether the density depends on it."""


@dataclass(frozen=True, eq=False)
class Coordinates(ABC):
    r"""The density as a function of x: :math:`\log p(q(x))`, where q is linear, so that its log-Jacobian is left out.

    Args:
        density: a `LogDensity`.
    """

    density: Any

    @abstractmethod
    def moved(self, x: Tensor) -> Tensor:
        """q of x, float64 (n,)."""

    @abstractmethod
    def inward(self, q: Array) -> Array:
        """x of q, (n,)."""

    @abstractmethod
    def outward(self, x: Array) -> Array:
        """q of x, (…, n)."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.with_values(x)[0]

    def with_values(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The log density at x, and the values of the sites there."""
        found: tuple[Tensor, dict[str, Tensor]] = self.density.with_values(self.moved(x))
        return found

    def __getattr__(self, name: str) -> Any:
        # Names, shapes and data are those of the density.
        return getattr(self.density, name)

    def start(self, rng: np.random.Generator) -> Array:
        """A starting point of the density, in these coordinates."""
        return self.inward(self.density.start(rng))

    def scored_start(self, rng: np.random.Generator) -> tuple[Array, float]:
        """A starting point and the log density there."""
        x = self.start(rng)
        with torch.no_grad():
            return x, float(self(torch.from_numpy(x)))

    def explain(self, x: Array) -> str:
        """A table of every site at x."""
        return str(self.density.explain(self.outward(np.asarray(x))))


@dataclass(frozen=True, eq=False)
class Whitened(Coordinates):
    """Coordinates in which the posterior has unit scales: q = c + s ∘ x.

    Args:
        centre, scales: c and s, float64 (n,).
    """

    centre: Array
    scales: Array

    def moved(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.centre) + torch.from_numpy(self.scales) * x

    def inward(self, q: Array) -> Array:
        return np.ascontiguousarray((q - self.centre) / self.scales)

    def outward(self, x: Array) -> Array:
        return self.centre + self.scales * x


@dataclass(frozen=True, eq=False)
class Turned(Coordinates):
    r"""Coordinates in which zero components of the gradient by q are mixed with others: :math:`q = x - 2 u\,(u^\top x)`.

    A density with bounds is flat in some coordinates, but a sampler takes its first scales from the gradient. The reflection
    maps the direction of a coordinate in which the density changes to the mean of it and the flat ones.

    Args:
        direction: u, float64 (n,), of length 1.
    """

    direction: Array

    def moved(self, x: Tensor) -> Tensor:
        u = torch.from_numpy(self.direction)
        return x - 2.0 * u * (u * x).sum()

    def inward(self, q: Array) -> Array:
        return self.outward(q)  # a reflection is its own inverse

    def outward(self, x: Array) -> Array:
        return np.ascontiguousarray(x - 2.0 * self.direction * (x @ self.direction)[..., None])


def turn(density: Any, value_and_grad: Any, rng: np.random.Generator) -> Turned | None:
    """The density reflected so that a chain can start, if it is locally flat in some coordinates but depends on them.

    None if it is not flat, or flat in all coordinates, or does not change with one however far that is moved.
    """
    moves, q, slope = np.zeros(density.dim, dtype=bool), np.zeros(density.dim), np.zeros(density.dim)
    for _ in range(LOOKS):
        point = density.start(rng)
        value, gradient = value_and_grad(point)
        if np.isfinite(value) and np.isfinite(gradient).all():
            moves |= gradient != 0.0
            q, slope = point, gradient
    flat = np.flatnonzero(~moves)
    if not flat.size or not slope.any():
        return None
    value = value_and_grad(q)[0]
    for place in flat:
        axis = np.eye(density.dim)[place]
        if all(value_and_grad(q + step * axis)[0] == value for step in STEPS):
            return None
    chosen = np.append(flat, np.abs(slope).argmax())
    u = np.zeros(density.dim)
    u[chosen] = -(chosen.size**-0.5)
    u[chosen[-1]] += 1.0
    return Turned(density, u / np.linalg.norm(u))
