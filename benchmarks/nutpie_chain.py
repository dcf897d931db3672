"""A chain of nutpie's on one of sursum's compiled densities: the oracle of `samplers`.

nutpie's raw entry takes the address of a C function, which its threads call without Python, so both samplers evaluate the
same machine code. The entry is private, and this is for nutpie 0.16.8.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.models import Array

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next version whenever it is imported
    from arro3.core import list_flatten
    from nutpie import _lib


@dataclass(frozen=True)
class Chain:
    """Draws of one chain, warm-up first, (draw, n); leapfrog steps and divergences of each; CPU seconds of the process."""

    q: Array
    steps: np.ndarray
    diverging: np.ndarray
    seconds: float


def sample(density: Any, start: Array, seed: int, warmup: int, draws: int, target_accept: float = 0.8) -> Chain:
    """One chain from exactly `start`, by nutpie's defaults but for the length."""
    instance, sizes = density.instance(), {}
    variables = _lib.PyVariable.new_variables(["q"], ["float64"], [(density.dim,)], sizes, {})
    keep = (density, instance)
    model = _lib.PyMcModel(
        _lib.LogpFunc(density.address, instance.pointer, keep),
        _lib.ExpandFunc(density.dim, density.dim, density.copy_address, instance.pointer, keep),
        *(variables, density.dim, sizes, {}, lambda _: start, None),
    )
    settings = _lib.PyNutsSettings.Diag(seed)
    settings.num_tune, settings.num_draws, settings.num_chains = warmup, draws, 1
    settings.target_accept = target_accept
    began = time.process_time()
    sampler = _lib.PySampler.from_pymc(settings, 1, model, _lib.ProgressType.none(), _lib.PyStorage.arrow())
    sampler.wait(None)
    seconds = time.process_time() - began
    (table,), (stats,) = sampler.take_results().get_arrow_trace()
    q = np.array(list_flatten(table.column("q")).to_numpy(), dtype=np.float64).reshape(table.num_rows, density.dim)
    steps, diverging = (np.array(stats.column(name).to_numpy()) for name in ("n_steps", "diverging"))
    return Chain(q, steps.astype(np.int64), diverging.astype(bool), seconds)
