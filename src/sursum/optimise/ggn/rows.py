"""The derivatives of a program's observations in its unknowns, row by row.

A row is an element of the first dimension of an observed site. Where a weight is used by linear and convolution layers alone,
its derivatives come from the layers' inputs and one backward pass for each column of the Fisher root, for all rows at once;
those of all other unknowns come from two backward passes for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from sursum.common.precision import in_double
from sursum.core.messages import Factor, Sample
from sursum.core.trace import Trace, scored
from sursum.density.log_density import LogDensity
from sursum.density.unconstrain import is_identity
from sursum.distributions.fluent import Masked
from sursum.errors import OptimisationError
from sursum.optimise.ggn.fisher import Column, Root, fisher_root
from sursum.optimise.ggn.layers import LayerCall, LayerRecorder, matrix_shape

MOST_OTHERS = 2000
"""The largest number of unknowns outside of layers."""

MOST_COLUMNS = 20_000
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Layer:
    """A weight and a bias that are used together, each by the name of its site; a layer may have only one of them."""

    weight: str | None
    bias: str | None
    calls: tuple[LayerCall, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(name for name in (self.weight, self.bias) if name is not None)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs, and inputs with the bias as the last of them."""
        out, inputs = matrix_shape(self.calls[0].weight.shape, self.calls[0].transposed)
        return out, (inputs if self.weight is not None else 0) + (self.bias is not None)

    def inputs(self) -> Tensor:
        """(rows, places, inputs), with a one for the bias; the places of several calls lie beside each other."""
        parts = []
        for call in self.calls:
            a = call.inputs()
            pieces = [a] if self.weight is not None else []
            parts.append(torch.cat([*pieces, torch.ones_like(a[..., :1])], -1) if self.bias is not None else a)
        return torch.cat(parts, 1)

    def outputs(self, slopes: Sequence[Tensor]) -> Tensor:
        """(rows, places, outputs), from the derivatives in the output of each call."""
        return torch.cat([call.outputs(slope) for call, slope in zip(self.calls, slopes, strict=True)], 1)

    def split(self, matrices: Tensor) -> dict[str, Tensor]:
        """Matrices of (…, outputs, inputs) as rows of the sites, (…, numel) by name."""
        found = {}
        if self.weight is not None:
            part = matrices if self.bias is None else matrices[..., :-1]
            found[self.weight] = (part.transpose(-1, -2) if self.calls[0].transposed else part).flatten(-2)
        if self.bias is not None:
            found[self.bias] = matrices[..., -1]
        return found

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `split`."""
        out, inputs = self.shape
        parts = []
        if self.weight is not None:
            value, width = values[self.weight], inputs - (self.bias is not None)
            shape = (width, out) if self.calls[0].transposed else (out, width)
            value = value.unflatten(-1, shape)
            parts.append(value.transpose(-1, -2) if self.calls[0].transposed else value)
        if self.bias is not None:
            parts.append(values[self.bias][..., None])
        return torch.cat(parts, -1)


@dataclass(frozen=True, eq=False)
class RowRun:
    """One run of a program at a point of its coordinates, with the graph of what it computed."""

    density: LogDensity
    leaves: Mapping[str, Tensor]
    trace: Trace
    jacobians: Mapping[str, Any]
    calls: tuple[LayerCall, ...]
    ontos: Mapping[str, Any]

    @classmethod
    def of(cls, density: LogDensity, q: Tensor) -> RowRun:
        """A run at `q`, float64 (n,)."""
        leaves: dict[str, Tensor] = {}
        ontos: dict[str, Any] = {}
        slices = {latent.name: latent for latent in density.latents}

        def choose(site: Sample, shape: torch.Size, onto: Any) -> Tensor:
            latent = slices[site.name]
            free = q[latent.start : latent.stop].detach().clone().reshape(shape).requires_grad_()
            leaves[site.name], ontos[site.name] = free, onto
            return free

        with torch.inference_mode(False), torch.enable_grad(), in_double(), LayerRecorder() as recorder:
            found, jacobians = density.execute(choose)
        return cls(density, leaves, found, jacobians, tuple(recorder.calls), ontos)

    def log_likelihood(self) -> Tensor:
        """The sum of the observed sites' terms, a scalar with its graph."""
        return self._sum(lambda site: site.is_observed)

    def log_prior(self) -> Tensor:
        """The sum of the latent sites' terms and of the log-Jacobians, a scalar with its graph."""
        total = self._sum(lambda site: not site.is_observed)
        for _, log_jacobian in self.jacobians.values():
            total = total + log_jacobian.sum()
        return total

    def _sum(self, keep: Any) -> Tensor:
        with torch.enable_grad(), in_double():
            return self.trace.log_prob_sum(lambda site: keep(site)).double()

    def value_of(self, name: str) -> Tensor:
        value: Tensor = self.trace[name].value
        return value


@dataclass(frozen=True, eq=False)
class Observation:
    """An observed site of a run: the tensors of its distribution, and the columns whose squares are summed for each row."""

    name: str
    rows: int
    root: Root


def observations(run: RowRun, hessian: str) -> list[Observation]:
    """The observed sites that depend on the unknowns.

    Raises:
        OptimisationError: a factor that depends on them, or a family without Fisher information.
    """
    found = []
    for name, site in run.trace.items():
        if isinstance(site, Factor) and isinstance(site.value, Tensor) and site.value.requires_grad:
            raise OptimisationError(
                f"the factor {site} depends on the unknowns, and a factor has no generalised Gauss–Newton or Fisher matrix. "
                'Write it as an observed site of a distribution, or take `hessian="exact"`.'
            )
        if isinstance(site, Sample) and site.is_observed:
            base, weight = _unwrap(site)
            with torch.enable_grad(), in_double():
                root = _score(site) if hessian == "empirical_fisher" else fisher_root(base, f"site {site}")
            kept = [i for i, tensor in enumerate(root.tensors) if tensor.requires_grad]
            if not kept or not root.tensors[0].numel():
                continue
            columns = [tuple(column[i] for i in kept) for column in root.columns]
            tensors = tuple(root.tensors[i] for i in kept)
            if hessian != "empirical_fisher":
                columns = [_weigh(column, weight.sqrt()) for column in columns]
                columns = [part for column in columns for part in _positions(column, base.batch_shape)]
            columns = [column for column in columns if any(bool(part.any()) for part in column)]
            rows = base.batch_shape[0] if len(base.batch_shape) else 1
            if len(columns) > MOST_COLUMNS:
                raise OptimisationError(
                    f"a row of site {site} has {len(columns)} outputs, each of which takes a backward pass: at most "
                    f'{MOST_COLUMNS} are allowed. Put the rows into the first dimension, or take `hessian="empirical_fisher"`.'
                )
            found.append(Observation(name, int(rows), Root(tensors, tuple(columns))))
    return found


def _unwrap(site: Sample) -> tuple[Any, Tensor]:
    """The family of a site, and the weight of each element of its batch: the scale and the masks."""
    fn, mask = site.fn, site.mask
    weight = torch.ones(fn.batch_shape, dtype=torch.float64) * torch.as_tensor(site.scale).detach().double()
    if mask is not None:
        weight = weight * torch.as_tensor(mask).double()
    while isinstance(fn, (td.Independent, Masked)):
        if isinstance(fn, Masked):
            weight = weight * fn.mask_tensor.double()
        inner = fn.base_dist
        more = len(inner.batch_shape) - weight.dim()
        fn, weight = inner, weight.reshape(*weight.shape, *(1,) * more).expand(inner.batch_shape)
    return fn, weight


def _score(site: Sample) -> Root:
    """The derivative of each row's log likelihood, as one column: with it the sum of squares is the empirical Fisher matrix."""
    scale = torch.as_tensor(site.scale).detach().double()
    term = scored(site.but(scale=1.0))
    return Root((term,), ((torch.ones_like(term) * scale.sqrt(),),))


def _weigh(column: Column, root: Tensor) -> Column:
    return tuple(part * root.reshape(*root.shape, *(1,) * (part.dim() - root.dim())) for part in column)


def _positions(column: Column, batch: torch.Size) -> Iterator[Column]:
    """A column for each element of a row: the elements of one row are observations of their own."""
    places = math.prod(batch[1:])
    if places <= 1:
        yield column
        return
    for place in range(places):
        only = torch.zeros(places, dtype=column[0].dtype)
        only[place] = 1.0
        only = only.reshape(batch[1:])
        yield tuple(part * only.reshape(*only.shape, *(1,) * (part.dim() - len(batch))) for part in column)


@dataclass(frozen=True, eq=False)
class RowParts:
    """The unknowns of a run: those of layers, and all others by the name of their site."""

    layers: tuple[Layer, ...]
    others: tuple[str, ...]


def find_parts(run: RowRun, seen: Sequence[Observation]) -> RowParts:
    """Which unknowns are used by layers alone, proved by the gradient of a random combination of the outputs.

    Raises:
        OptimisationError: rows that depend on one another, as in batch norm.
    """
    by_value = {id(run.value_of(name)): name for name in run.leaves if is_identity(run.ontos[name])}
    groups: dict[tuple[str | None, str | None], list[LayerCall]] = {}
    for call in run.calls:
        weight, bias = by_value.get(id(call.weight)), by_value.get(id(call.bias))
        if (weight or bias) and call.result.requires_grad:
            groups.setdefault((weight, bias), []).append(call)
    layers = [Layer(weight, bias, tuple(calls)) for (weight, bias), calls in groups.items()]
    used = [name for layer in layers for name in layer.sites]
    layers = [layer for layer in layers if all(used.count(name) == 1 for name in layer.sites)]
    layers = [
        layer
        for layer in layers
        if all(call.rows == one.rows or (one.rows == 1 and len(seen) == 1) for one in seen for call in layer.calls)
    ]
    for one in seen:
        layers = _prove(run, one, layers)
    held = {name for layer in layers for name in layer.sites}
    return RowParts(tuple(layers), tuple(name for name in run.leaves if name not in held))


def _prove(run: RowRun, seen: Observation, layers: Sequence[Layer]) -> list[Layer]:
    """The layers through which all derivatives of their weights go, with rows that do not depend on one another."""
    if not layers:
        return []
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.device) for t in seen.root.tensors]
    sites = [name for layer in layers for name in layer.sites]
    whole = dict(zip(sites, _grad(seen.root.tensors, [run.leaves[name] for name in sites], random), strict=True))
    kept = []
    slopes = layer_slopes(layers, seen.root.tensors, random)
    odd = [part.clone() for part in random]
    for part in odd:
        part[::2] = 0.0
    half = layer_slopes(layers, seen.root.tensors, odd)
    for layer, slope, some in zip(layers, slopes, half, strict=True):
        g = layer.outputs(slope)
        matrices = torch.einsum("nto,nti->oi", g, layer.inputs())
        size = max(float(matrices.abs().max()), 1e-300)
        ours = layer.split(matrices)
        same = all(float((ours[name] - whole[name].reshape(-1)).abs().max()) <= _TOLERANCE * size for name in layer.sites)
        apart = seen.rows == 1 or not bool(layer.outputs(some)[::2].any())
        if same and not apart:
            raise OptimisationError(
                f"the rows of site {seen.name!r} depend on one another through the layer of {layer.sites[0]!r}, so that they "
                "have no derivatives of their own. Call .eval() on layers that normalise by the batch; where rows do interact, "
                'take `hessian="exact"`.'
            )
        if same:
            kept.append(layer)
    return kept


def layer_slopes(layers: Sequence[Layer], tensors: Sequence[Tensor], column: Sequence[Tensor]) -> list[list[Tensor]]:
    """The derivatives in the output of every call of some layers, for one column: a backward pass."""
    results = [call.result for layer in layers for call in layer.calls]
    rest = iter(_grad(tensors, results, column))
    return [[next(rest) for _ in layer.calls] for layer in layers]


def other_rows(run: RowRun, seen: Observation, names: Sequence[str]) -> Tensor | None:
    """The derivatives of every row in the unknowns outside of layers, (rows, columns, unknowns); None where there are none.

    Raises:
        OptimisationError: there are more of them than `MOST_OTHERS`.
    """
    leaves = [run.leaves[name] for name in names]
    count = sum(leaf.numel() for leaf in leaves)
    if not count:
        return None
    if count > MOST_OTHERS:
        listed = ", ".join(f"{name!r} ({run.leaves[name].numel()})" for name in names[:5])
        raise OptimisationError(
            f"the unknowns {listed} are used otherwise than as the weight or bias of a linear layer or a convolution "
            f"(torch.nn.functional.linear, conv1d, conv2d, or a matrix product), and there are {count} of them: at most "
            f"{MOST_OTHERS} are allowed. Lift fewer of them."
        )
    tensors = seen.root.tensors
    ones = [torch.zeros_like(tensor).requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        slopes = torch.autograd.grad(tensors, leaves, ones, create_graph=True, allow_unused=True)
        flat = [s if s is not None else torch.zeros_like(leaf) for s, leaf in zip(slopes, leaves, strict=True)]
        every = torch.cat([slope.reshape(-1) for slope in flat])
    found = torch.zeros(seen.rows, len(seen.root.columns), count, dtype=torch.float64)
    for i in range(count):
        along = _grad([every[i]], ones, None) if every[i].requires_grad else [torch.zeros_like(one) for one in ones]
        for j, column in enumerate(seen.root.columns):
            for part, move in zip(column, along, strict=True):
                found[:, j, i] += (part * move).reshape(seen.rows, -1).sum(1)
    return found


def _grad(outputs: Sequence[Tensor], inputs: Sequence[Tensor], slopes: Sequence[Tensor] | None) -> list[Tensor]:
    found = torch.autograd.grad(outputs, inputs, slopes, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(given) if one is None else one for one, given in zip(found, inputs, strict=True)]
