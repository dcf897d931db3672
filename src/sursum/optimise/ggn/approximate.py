"""Laplace's approximation with a generalised Gauss–Newton or empirical Fisher matrix, for programs with networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from sursum.common.precision import in_double
from sursum.common.user_frame import warn
from sursum.compiler.compiled import CompiledDensity, compile_density
from sursum.core.arguments import with_data
from sursum.density.log_density import LogDensity
from sursum.density.unconstrain import is_identity
from sursum.errors import DiagnosticWarning, OptimisationError
from sursum.optimise.evaluator import evaluator
from sursum.optimise.fit import start_point
from sursum.optimise.ggn.accumulate import (
    Factors,
    OnlyDiagonal,
    WholeMatrix,
    block_precision,
    diagonal_precision,
    prior_curvature,
    whole_precision,
)
from sursum.optimise.ggn.rows import RowRun, find_parts, observations
from sursum.optimise.ggn.structures import Structure, Subnetwork
from sursum.optimise.maximise import lbfgs
from sursum.optimise.size import LARGEST, check_size
from sursum.posterior.init import Init, check_names, values_by_name
from sursum.predict.data_loaders import batches

Array = NDArray[np.float64]

SEARCHED = 5000
"""The largest number of unknowns for which the mode is searched where `num_steps` is not given."""

_SHIFT = 0.05


@dataclass(frozen=True)
class LayerBatches:
    """The data of a program: one set of arguments, or those of each batch of a loader."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def loader(self) -> DataLoader[Any] | None:
        return self.args[0] if self.args and isinstance(self.args[0], DataLoader) else None

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
        if self.loader is None:
            yield self.args, self.kwargs
        else:
            for _, batch in batches(self.loader):
                yield (*batch, *self.args[1:]), self.kwargs

    def first(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        found = next(iter(self), None)
        if found is None:
            raise OptimisationError("the data loader has no batches, so there is nothing to learn from.")
        return found


@dataclass(frozen=True, eq=False)
class Approximation:
    """A Gaussian around a point: where, its precision, the log density there, and what was compiled on the way."""

    run: RowRun
    q: Tensor
    precision: Structure
    log_density: float
    compiled: CompiledDensity | None


def approximate(
    density: LogDensity,
    data: LayerBatches,
    *,
    hessian: str,
    structure: str,
    shared: str,
    subnetwork: int | None,
    init: Init,
    num_steps: int | None,
    engine: str | None,
) -> Approximation:
    """The Gaussian at the mode, or at the point that `init` and the program give.

    Raises:
        OptimisationError: a matrix that is too large, or not positive definite; a program that this does not take.

    Warns:
        DiagnosticWarning: the point is not the mode.
    """
    n = density.dim
    if structure == "full" and subnetwork is None:
        check_size(n)
    if data.loader is not None and num_steps:
        raise OptimisationError(
            "`num_steps` searches the mode with all data at once, and a data loader gives batches. Train the network first, or "
            "give its values by `init`: the approximation is made there."
        )
    steps = (1000 if n <= SEARCHED and data.loader is None else 0) if num_steps is None else num_steps
    q, compiled = _point(density, init, steps, engine)
    precision, run, log_density, gradient = _curvature(density, data, q, hessian, structure, shared, subnetwork)
    if not precision.definite:
        raise OptimisationError(
            "the curvature of the log density is not positive in all directions, so that there is no Gaussian. Give the sites "
            "priors that determine them, such as normal ones."
        )
    left = precision.decrement(gradient)
    if not left <= _SHIFT * n:
        search = "Train on, or let it search: `num_steps=`" if not steps else "Raise `num_steps`"
        warn(
            f"The approximation is not at the mode: {left:.3g} of log density was left to gain, by {n} unknowns. {search}.",
            DiagnosticWarning,
        )
    return Approximation(run, q, precision, log_density, compiled)


def _point(density: LogDensity, init: Init, steps: int, engine: str | None) -> tuple[Tensor, CompiledDensity | None]:
    if steps:
        compiled = compile_density(density, engine)
        path, _, _ = lbfgs(evaluator(compiled), start_point(compiled, init), steps)
        return torch.from_numpy(path[-1].q), compiled
    rng = np.random.default_rng(0)
    values = values_by_name(init, rng)
    check_names(init, density.dims)
    return torch.from_numpy(density.start(rng, values, jitter=0.0, spread=0.0)), None


def _curvature(
    density: LogDensity, data: LayerBatches, q: Tensor, hessian: str, structure: str, shared: str, subnetwork: int | None
) -> tuple[Structure, RowRun, float, Tensor]:
    """The precision at q, a run there, the log density, and its gradient."""

    def gathered(found: Any) -> tuple[Any, RowRun, float, Tensor]:
        log_density, gradient = 0.0, torch.zeros(density.dim, dtype=torch.float64)
        first: RowRun | None = None
        for args, kwargs in data:
            args, kwargs = with_data(density.model, args, dict(kwargs))
            run = RowRun.of(density.on_batch(args, kwargs), q)
            seen = observations(run, hessian)
            parts = find_parts(run, seen)
            for one in seen:
                found.add(run, one, parts)
            terms = [run.log_likelihood()] + ([run.log_prior()] if first is None else [])
            for term in terms:
                log_density += float(term.detach())
                gradient += _flat_gradient(term, run)
            first = run if first is None else first
        if first is None:
            raise OptimisationError("the data loader has no batches, so there is nothing to learn from.")
        return found, first, log_density, gradient

    n = density.dim
    if subnetwork is not None:
        found, run, *_ = gathered(OnlyDiagonal(n))
        variances = diagonal_precision(found, prior_curvature(run, LARGEST))
        chosen = variances.values.argsort(stable=True)[:subnetwork].sort().values
        whole, run, log_density, gradient = gathered(WholeMatrix(n, chosen))
        return Subnetwork(chosen, whole_precision(whole, prior_curvature(run, LARGEST))), run, log_density, gradient
    gatherer = {"full": lambda: WholeMatrix(n), "diag": lambda: OnlyDiagonal(n), "kron": lambda: Factors(shared)}[structure]()
    found, run, log_density, gradient = gathered(gatherer)
    prior = prior_curvature(run, LARGEST)
    if structure == "full":
        return whole_precision(found, prior), run, log_density, gradient
    if structure == "diag":
        return diagonal_precision(found, prior), run, log_density, gradient
    return block_precision(found, prior, run), run, log_density, gradient


def _flat_gradient(term: Tensor, run: RowRun) -> Tensor:
    leaves = [run.leaves[latent.name] for latent in run.density.latents]
    if not term.requires_grad:
        return torch.zeros(run.density.dim, dtype=torch.float64)
    found = torch.autograd.grad(term, leaves, retain_graph=True, allow_unused=True)
    parts = [(torch.zeros_like(q) if s is None else s).reshape(-1) for s, q in zip(found, leaves, strict=True)]
    return torch.cat(parts).double()


def latent_values(density: LogDensity, ontos: Mapping[str, Callable[[Tensor], Tensor]], draws: Tensor) -> dict[str, Tensor]:
    """The latent sites at points of the coordinates, (S, n) to (S, *shape), without running the program where that can be.

    Args:
        ontos: the map from each site's coordinates, as a run found it.
    """
    found = {}
    with torch.no_grad(), in_double():
        for latent in density.latents:
            free = draws[:, latent.start : latent.stop].reshape(len(draws), *latent.free_shape)
            found[latent.name] = ontos[latent.name](free).detach().double()
    if not all(is_identity(onto) for onto in ontos.values()):
        last = density.unravel(draws[-1])
        if not all(torch.allclose(last[name].double(), value[-1], equal_nan=True) for name, value in found.items()):
            rows = [density.unravel(q) for q in draws]  # a support depends on another site
            return {name: torch.stack([row[name] for row in rows]).double() for name in last}
    return found
