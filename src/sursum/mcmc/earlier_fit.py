"""What a run takes from the fit that it starts from: its metric and its step size, so that a short warm-up is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.draws.draws import Draws
from sursum.draws.psis import LIMIT
from sursum.errors import SamplingError
from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel_settings import draws_behind, metric_of_draws

WARMUP = 200
"""Draws of a warm-up in which only the step size is adapted."""


@dataclass(frozen=True, eq=False)
class EarlierFit:
    """A metric, and the step size of an earlier run with it; None where it was no run."""

    metric: Metric
    step_size: float | None


def find_earlier_fit(init: Any, compiled: Any) -> EarlierFit | None:
    """That of `init`, if it has draws of the coordinates of this density; None otherwise.

    The metric is that of its draws and of the gradients which this density has there. An approximation whose importance weights
    say that it cannot be trusted gives none.
    """
    draws = draws_behind(init)
    density = compiled.density
    if draws is None or tuple(getattr(draws, "coordinates", ())) != tuple(density.coordinate_names()):
        return None
    if not _is_trusted(draws) or not _means_the_same(draws, compiled):
        return None
    free = density.num_free
    try:
        metric = metric_of_draws(draws, free, compiled.value_and_grad, compiled.dim - free)
    except SamplingError:  # few draws, or the density is not finite there
        return None
    sizes = np.asarray(draws.stats["step_size"])[:, -1:] if "step_size" in draws.stats else np.empty((0, 0))
    usable = sizes.size > 0 and bool(np.isfinite(sizes).all()) and bool((sizes > 0.0).all())
    return EarlierFit(metric, float(sizes.mean()) if usable else None)


def _is_trusted(draws: Any) -> bool:
    """Whether they are of the posterior, or of an approximation with Pareto k up to 0.7 or weights that are all alike."""
    k = getattr(draws, "pareto_k", None)
    if k is None or k <= LIMIT:
        return True
    return bool(np.isnan(k) and "log_weight" in draws.stats and np.isfinite(draws.stats["log_weight"]).all())


def _means_the_same(draws: Draws, compiled: Any) -> bool:
    """Whether the coordinates of a draw stand for the values of its sites here too: a site of another support has others."""
    if not draws.num_samples:
        return False
    values = compiled.unravel(np.asarray(draws.unconstrained[0, -1], dtype=np.float64))
    known = [name for name in values if name in draws]
    return bool(known) and all(_equal(draws[name][0, -1], values[name]) for name in known)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=1e-5, atol=1e-8)
