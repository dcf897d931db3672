"""Sum the curvature of a program's observations over rows and batches, and add the prior's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sursum.errors import OptimisationError
from sursum.optimise.ggn.rows import Layer, Observation, RowParts, RowRun, layer_slopes, other_rows
from sursum.optimise.ggn.structures import Diagonal, Full, Kronecker, LayerBlocks

_CHUNK = 1 << 23
"""Numbers of a piece of the matrix of derivatives."""


def places_of(run: RowRun) -> dict[str, slice]:
    """The coordinates of each latent site."""
    return {latent.name: slice(latent.start, latent.stop) for latent in run.density.latents}


@dataclass(eq=False)
class WholeMatrix:
    """The matrix of the coordinates `chosen`, all of them where it is None."""

    dim: int
    chosen: Tensor | None = None
    total: Tensor = field(init=False)

    def __post_init__(self) -> None:
        n = self.dim if self.chosen is None else len(self.chosen)
        self.total = torch.zeros(n, n, dtype=torch.float64)

    def add(self, run: RowRun, seen: Observation, parts: RowParts) -> None:
        others, places = other_rows(run, seen, parts.others), places_of(run)
        inputs = [layer.inputs() for layer in parts.layers]
        step = max(1, _CHUNK // self.dim)
        for j, column in enumerate(seen.root.columns):
            slopes = layer_slopes(parts.layers, seen.root.tensors, column) if parts.layers else []
            outputs = [layer.outputs(slope) for layer, slope in zip(parts.layers, slopes, strict=True)]
            for begin in range(0, seen.rows, step):
                rows = slice(begin, min(begin + step, seen.rows))
                piece = torch.zeros(rows.stop - rows.start, self.dim, dtype=torch.float64)
                for layer, g, a in zip(parts.layers, outputs, inputs, strict=True):
                    matrices = torch.einsum("nto,nti->noi", g[rows], a[rows])
                    for name, value in layer.split(matrices).items():
                        piece[:, places[name]] = value
                if others is not None:
                    _place(piece, others[rows, j], parts.others, places)
                piece = piece if self.chosen is None else piece[:, self.chosen]
                self.total.addmm_(piece.mT, piece)


@dataclass(eq=False)
class OnlyDiagonal:
    """The diagonal."""

    dim: int
    total: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.total = torch.zeros(self.dim, dtype=torch.float64)

    def add(self, run: RowRun, seen: Observation, parts: RowParts) -> None:
        others, places = other_rows(run, seen, parts.others), places_of(run)
        if others is not None:
            _place(self.total[None], others.square().sum((0, 1))[None], parts.others, places, add=True)
        inputs = [layer.inputs() for layer in parts.layers]
        for column in seen.root.columns:
            slopes = layer_slopes(parts.layers, seen.root.tensors, column) if parts.layers else []
            for layer, slope, a in zip(parts.layers, slopes, inputs, strict=True):
                g = layer.outputs(slope)
                for name, value in layer.split(_squares(g, a)).items():
                    self.total[places[name]] += value


@dataclass(eq=False)
class Factors:
    """Kronecker factors of layers, and the matrix of all other unknowns.

    Args:
        shared: how a layer that is applied at several places of a row counts them: "expand" as rows of their own, "reduce"
            as one row, by the mean of its inputs and the sum of the derivatives in its outputs (Eschenhagen et al. 2023).
    """

    shared: str
    outputs: dict[tuple[str, ...], Tensor] = field(default_factory=dict)
    inputs: dict[tuple[str, ...], Tensor] = field(default_factory=dict)
    places: dict[tuple[str, ...], int] = field(default_factory=dict)
    rest: Tensor | None = None
    parts: RowParts | None = None

    def add(self, run: RowRun, seen: Observation, parts: RowParts) -> None:
        self.parts = parts
        others = other_rows(run, seen, parts.others)
        if others is not None:
            flat = others.flatten(0, 1)
            self.rest = flat.mT @ flat + (0.0 if self.rest is None else self.rest)
        for layer in parts.layers:
            a = layer.inputs()
            a = a.mean(1) if self.shared == "reduce" else a.flatten(0, 1)
            self.inputs[layer.sites] = self.inputs.get(layer.sites, 0.0) + a.mT @ a
            self.places[layer.sites] = self.places.get(layer.sites, 0) + len(a)
        for column in seen.root.columns:
            slopes = layer_slopes(parts.layers, seen.root.tensors, column) if parts.layers else []
            for layer, slope in zip(parts.layers, slopes, strict=True):
                g = layer.outputs(slope)
                g = g.sum(1) if self.shared == "reduce" else g.flatten(0, 1)
                self.outputs[layer.sites] = self.outputs.get(layer.sites, 0.0) + g.mT @ g


def _squares(g: Tensor, a: Tensor) -> Tensor:
    """The sum over rows of the squares of each row's matrix of derivatives, (outputs, inputs)."""
    if g.shape[1] == 1:
        return g[:, 0].square().mT @ a[:, 0].square()
    total = torch.zeros(g.shape[2], a.shape[2], dtype=torch.float64)
    step = max(1, _CHUNK // total.numel())
    for begin in range(0, len(g), step):
        total += torch.einsum("nto,nti->noi", g[begin : begin + step], a[begin : begin + step]).square().sum(0)
    return total


def _place(piece: Tensor, values: Tensor, names: Sequence[str], places: Mapping[str, slice], *, add: bool = False) -> None:
    at = 0
    for name in names:
        width = places[name].stop - places[name].start
        if add:
            piece[:, places[name]] += values[:, at : at + width]
        else:
            piece[:, places[name]] = values[:, at : at + width]
        at += width


# The prior.


@dataclass(frozen=True, eq=False)
class PriorCurvature:
    """The curvature of the prior at the run's point: the diagonal, and the whole matrix where it is needed and not diagonal."""

    diagonal: Tensor
    matrix: Tensor | None


def prior_curvature(run: RowRun, limit: int) -> PriorCurvature:
    """The negative Hessian of the log prior, with the log-Jacobians of the supports.

    Raises:
        OptimisationError: it is not diagonal, and there are more than `limit` unknowns.
    """
    leaves = [run.leaves[latent.name] for latent in run.density.latents]
    n = run.density.dim
    with torch.enable_grad():
        slopes = torch.autograd.grad(run.log_prior(), leaves, create_graph=True, allow_unused=True)
        flat = torch.cat([(torch.zeros_like(q) if s is None else s).reshape(-1) for s, q in zip(slopes, leaves, strict=True)])

    def times(vector: Tensor) -> Tensor:
        if not flat.requires_grad:
            return torch.zeros(n, dtype=torch.float64)
        found = torch.autograd.grad(flat, leaves, vector, retain_graph=True, allow_unused=True)
        parts = [(torch.zeros_like(q) if s is None else s).reshape(-1) for s, q in zip(found, leaves, strict=True)]
        return -torch.cat(parts).double()

    diagonal = times(torch.ones(n, dtype=torch.float64))
    probe = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if torch.allclose(times(probe), diagonal * probe, rtol=1e-9, atol=1e-12 * float(diagonal.abs().max())):
        return PriorCurvature(diagonal, None)
    if n > limit:
        raise OptimisationError(
            f"the prior couples the {n} unknowns, as one with a scale of its own that is drawn does, and its matrix is kept "
            f"whole for at most {limit}. Give a prior with fixed scales, or lift fewer parameters."
        )
    matrix = torch.stack([times(unit) for unit in torch.eye(n, dtype=torch.float64)])
    return PriorCurvature(matrix.diagonal().clone(), (matrix + matrix.mT) / 2.0)


def whole_precision(found: WholeMatrix, prior: PriorCurvature) -> Full:
    """The likelihood's matrix and the prior's."""
    matrix = found.total.clone()
    if prior.matrix is not None:
        inner = prior.matrix if found.chosen is None else prior.matrix[found.chosen][:, found.chosen]
        return Full(matrix + inner)
    diagonal = prior.diagonal if found.chosen is None else prior.diagonal[found.chosen]
    matrix.diagonal().add_(diagonal)
    return Full(matrix)


def diagonal_precision(found: OnlyDiagonal, prior: PriorCurvature) -> Diagonal:
    """The same for the diagonal alone."""
    return Diagonal(found.total + prior.diagonal)


def block_precision(found: Factors, prior: PriorCurvature, run: RowRun) -> LayerBlocks:
    """The same for blocks.

    Raises:
        OptimisationError: a layer's prior is not a product over outputs and inputs, or couples unknowns.
    """
    places = places_of(run)
    parts = found.parts
    assert parts is not None
    if prior.matrix is not None:
        raise OptimisationError(
            "the prior couples unknowns, as one with a scale of its own that is drawn does; Kronecker blocks cannot hold that. "
            'Give a prior with fixed scales, or take `structure="full"`.'
        )
    blocks = []
    for layer in parts.layers:
        own = layer.join({name: prior.diagonal[places[name]] for name in layer.sites})
        for_outputs, for_inputs = _product(layer, own)
        inputs = found.inputs[layer.sites] / found.places[layer.sites]
        blocks.append(Kronecker(layer, found.outputs[layer.sites], inputs, for_outputs, for_inputs))
    rest = None
    if parts.others:
        chosen = torch.cat([torch.arange(places[name].start, places[name].stop) for name in parts.others])
        matrix = torch.zeros(len(chosen), len(chosen), dtype=torch.float64) if found.rest is None else found.rest.clone()
        matrix.diagonal().add_(prior.diagonal[chosen])
        rest = Full(matrix)
    return LayerBlocks(blocks, rest, parts.others, places)


def _product(layer: Layer, precision: Tensor) -> tuple[Tensor, Tensor]:
    """A prior's precision, (outputs, inputs), as a product of one number for each."""
    names = " and ".join(map(repr, layer.sites))
    if not bool((precision > 0.0).all()):
        raise OptimisationError(
            f"the prior of {names} does not fall in all directions (its precision is {float(precision.min()):.3g}), which a "
            "Kronecker block needs. Give a normal prior."
        )
    outputs, inputs = precision[:, 0] / precision[0, 0], precision[0]
    if not torch.allclose(outputs[:, None] * inputs, precision, rtol=1e-6):
        raise OptimisationError(
            f"the prior's precision of {names} is not a product of one number for each output and one for each input, which a "
            'Kronecker block needs. Give one scale for the weight and one for the bias, or take `structure="diag"` or "full".'
        )
    return outputs, inputs
