"""From draws of an approximation, in unconstrained coordinates, to a `Posterior`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.compiled import CompiledDensity
from sursum.draws.psis import verdict
from sursum.errors import DiagnosticWarning
from sursum.optimise.evaluator import evaluator
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]


def log_densities(compiled: CompiledDensity, draws: Array) -> Array:
    """The log density at each draw, (N, n) to (N,); −∞ where it has none."""
    value_and_grad = evaluator(compiled)
    values = np.array([value_and_grad(q)[0] for q in draws])
    return np.where(np.isnan(values) | np.isposinf(values), -np.inf, values)


def as_posterior(
    compiled: CompiledDensity,
    draws: Array,
    stats: Mapping[str, NDArray[Any]],
    *,
    pareto_k: float,
    doubts: tuple[str, ...] = (),
    stacklevel: int,
) -> Posterior:
    """The posterior of N independent draws, as one chain; `stats` are (N,) each. What is doubtful, k-hat included, is
    warned of."""
    density = compiled.density
    said = (*doubts, *verdict(pareto_k))
    for text in said:
        warnings.warn(text, DiagnosticWarning, stacklevel=stacklevel + 1)
    return Posterior(
        {name: value[None] for name, value in compiled.expand(draws).items()},
        {name: value[None] for name, value in stats.items()},
        draws[None],
        latents=tuple(latent.name for latent in density.latents),
        coordinates=tuple(density.coordinate_names()),
        dims=dict(density.dims),
        observed=dict(density.observed),
        warnings=said,
        program=density.program,
        pareto_k=pareto_k,
    )
