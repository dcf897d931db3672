"""A log density in coordinates in which the posterior has unit scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitened:
    r"""The density at q = c + s ∘ x as a function of x: :math:`\log p(c + s \circ x)`, for a compiler to compile.

    The constant log-Jacobian Σ log s is left out, so that values are those of `density` itself.

    Args:
        density: a `LogDensity`.
        centre, scales: c and s, float64 (n,).
    """

    density: Any
    centre: Array
    scales: Array

    def __call__(self, x: Tensor) -> Tensor:
        return self.with_values(x)[0]

    def with_values(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The log density at x, and the values of the sites there."""
        found: tuple[Tensor, dict[str, Tensor]] = self.density.with_values(self._outward(x))
        return found

    def _outward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.centre) + torch.from_numpy(self.scales) * x

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

    def inward(self, q: Array) -> Array:
        """x of q."""
        return np.ascontiguousarray((q - self.centre) / self.scales)

    def outward(self, x: Array) -> Array:
        """q of x."""
        return self.centre + self.scales * x

    def explain(self, x: Array) -> str:
        """A table of every site at x."""
        return str(self.density.explain(self.outward(np.asarray(x))))
