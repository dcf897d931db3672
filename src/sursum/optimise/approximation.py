"""Convert draws of an approximation, in unconstrained coordinates, to a `Posterior`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.compiler.compiled import CompiledDensity
from sursum.optimise.evaluator import evaluator
from sursum.posterior.assemble import Subject, assemble_independent
from sursum.posterior.posterior import Posterior

Array = NDArray[np.float64]


def log_densities(compiled: CompiledDensity, draws: Array) -> Array:
    """The log density at each draw, (N, n) to (N,); −∞ where it is undefined."""
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
) -> Posterior:
    """The posterior of N independent draws; `stats` are (N,) each."""
    subject = Subject.of(compiled.density, compiled.engine)
    return assemble_independent(subject, compiled.expand(draws), stats, draws, pareto_k=pareto_k, doubts=doubts)
