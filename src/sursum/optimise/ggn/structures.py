r"""What is kept of a precision matrix A, and the Gaussian N(0, A⁻¹) that it defines: whole, its diagonal, or Kronecker blocks.

A block of a layer with weights W and a bias, as the matrix (W b), is :math:`G \otimes A + D_G \otimes D_A` with the factors of
its likelihood, G of the outputs and A of the inputs, and the prior's precision, a product of one number for each output and
one for each input. Scaled by the latter it is diagonal in the factors' eigenvectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sursum.optimise.ggn.rows import Layer


class Structure(Protocol):
    """A positive definite matrix A of n × n, or some of it."""

    @property
    def definite(self) -> bool: ...

    @property
    def log_det(self) -> float:
        """log det A."""
        ...

    def shape(self, noise: Tensor) -> Tensor:
        """Standard normal noise, (…, n), as draws of N(0, A⁻¹)."""
        ...

    def decrement(self, gradient: Tensor) -> float:
        """½ gᵀ A⁻¹ g."""
        ...


@dataclass(frozen=True, eq=False)
class Full:
    """All of A, (n, n)."""

    matrix: Tensor

    @cached_property
    def _root(self) -> tuple[Tensor, Tensor]:
        """The Cholesky factor of A scaled to a unit diagonal, and the scales."""
        scales = self.matrix.diagonal().clamp(min=1e-300).rsqrt()
        root, failed = torch.linalg.cholesky_ex(self.matrix * scales[:, None] * scales)
        return (torch.full_like(root, torch.nan) if failed else root), scales

    @property
    def definite(self) -> bool:
        root, _ = self._root
        return bool(torch.isfinite(root).all()) and bool((root.diagonal() > 1e-7).all())

    @property
    def log_det(self) -> float:
        root, scales = self._root
        return float(2.0 * root.diagonal().log().sum() - 2.0 * scales.log().sum())

    def shape(self, noise: Tensor) -> Tensor:
        root, scales = self._root
        drawn: Tensor = torch.linalg.solve_triangular(root.mT, noise.mT, upper=True).mT
        return drawn * scales

    def decrement(self, gradient: Tensor) -> float:
        root, scales = self._root
        return 0.5 * float(torch.linalg.solve_triangular(root, (gradient * scales)[:, None], upper=False).square().sum())


@dataclass(frozen=True, eq=False)
class Diagonal:
    """The diagonal of A, (n,)."""

    values: Tensor

    @property
    def definite(self) -> bool:
        return bool((self.values > 0.0).all()) and bool(torch.isfinite(self.values).all())

    @property
    def log_det(self) -> float:
        return float(self.values.log().sum())

    def shape(self, noise: Tensor) -> Tensor:
        return noise * self.values.rsqrt()

    def decrement(self, gradient: Tensor) -> float:
        return 0.5 * float((gradient.square() / self.values).sum())


@dataclass(frozen=True, eq=False)
class Kronecker:
    """One layer's block: factors (outputs, outputs) and (inputs, inputs), and the prior's precision for each."""

    layer: Layer
    outputs: Tensor
    inputs: Tensor
    prior_outputs: Tensor
    prior_inputs: Tensor

    @cached_property
    def _eigen(self) -> tuple[Tensor, Tensor, Tensor]:
        """The eigenvectors of the scaled factors, and the eigenvalues of the scaled block, (outputs, inputs)."""
        found = []
        for factor, prior in ((self.outputs, self.prior_outputs), (self.inputs, self.prior_inputs)):
            root = prior.rsqrt()
            values, vectors = torch.linalg.eigh(factor * root[:, None] * root)
            found.append((values.clamp(min=0.0), vectors))
        (g, ug), (a, ua) = found
        return ug, ua, g[:, None] * a + 1.0

    @property
    def _scale(self) -> Tensor:
        return self.prior_outputs.rsqrt()[:, None] * self.prior_inputs.rsqrt()

    @property
    def definite(self) -> bool:
        return all(bool((p > 0.0).all()) and bool(torch.isfinite(p).all()) for p in (self._scale, self._eigen[2]))

    @property
    def log_det(self) -> float:
        return float(self._eigen[2].log().sum() - 2.0 * self._scale.log().sum())

    def shape(self, noise: Tensor) -> Tensor:
        """Noise of (…, outputs, inputs) as draws."""
        ug, ua, values = self._eigen
        return (ug @ (noise * values.rsqrt()) @ ua.mT) * self._scale

    def decrement(self, gradient: Tensor) -> float:
        ug, ua, values = self._eigen
        return 0.5 * float(((ug.mT @ (gradient * self._scale) @ ua).square() / values).sum())


@dataclass(frozen=True, eq=False)
class LayerBlocks:
    """Blocks of layers, and one block of all other unknowns; `places` are the coordinates of each site."""

    layers: Sequence[Kronecker]
    rest: Full | None
    others: Sequence[str]
    places: Mapping[str, slice]

    @property
    def _all(self) -> list[Kronecker | Full]:
        return [*self.layers, *([] if self.rest is None else [self.rest])]

    @property
    def definite(self) -> bool:
        return all(block.definite for block in self._all)

    @property
    def log_det(self) -> float:
        return sum(block.log_det for block in self._all)

    def shape(self, noise: Tensor) -> Tensor:
        found = torch.empty_like(noise)
        for block in self.layers:
            given = {name: noise[..., self.places[name]] for name in block.layer.sites}
            for name, value in block.layer.split(block.shape(block.layer.join(given))).items():
                found[..., self.places[name]] = value
        if self.rest is not None:
            drawn = self.rest.shape(torch.cat([noise[..., self.places[name]] for name in self.others], -1))
            self._spread(found, drawn)
        return found

    def decrement(self, gradient: Tensor) -> float:
        parts = {name: gradient[self.places[name]] for name in self.places}
        total = sum(block.decrement(block.layer.join(parts)) for block in self.layers)
        if self.rest is not None:
            total += self.rest.decrement(torch.cat([parts[name] for name in self.others]))
        return total

    def _spread(self, found: Tensor, drawn: Tensor) -> None:
        at = 0
        for name in self.others:
            width = self.places[name].stop - self.places[name].start
            found[..., self.places[name]] = drawn[..., at : at + width]
            at += width


@dataclass(frozen=True, eq=False)
class Subnetwork:
    """A matrix of some coordinates; all others are held where they are."""

    chosen: Tensor
    inner: Full

    @property
    def definite(self) -> bool:
        return self.inner.definite

    @property
    def log_det(self) -> float:
        return self.inner.log_det

    def shape(self, noise: Tensor) -> Tensor:
        found = torch.zeros_like(noise)
        found[..., self.chosen] = self.inner.shape(noise[..., self.chosen])
        return found

    def decrement(self, gradient: Tensor) -> float:
        return self.inner.decrement(gradient[self.chosen])
