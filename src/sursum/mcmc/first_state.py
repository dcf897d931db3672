"""The state of each chain before its first draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel.state import State
from sursum.mcmc.kernel_settings import KernelSettings

Array = NDArray[np.float64]


def first_states(
    kernel: KernelSettings,
    compiled: Any,
    starts: Sequence[Array],
    seeds: Sequence[int],
    num_warmup: int,
    metric: Metric | None,
    step_size: float | None = None,
) -> list[State]:
    """A state for each start.

    Args:
        compiled: the density.
        seeds: of the chains' random numbers, 64 bits each.
        num_warmup: draws of the warm-up.
        metric: one that is given; None is adapted.
        step_size: where the search for one begins, or without a warm-up what it is.
    """
    found, fields = [], kernel.fields() | ({} if step_size is None else {"step_size": step_size})
    for start, seed in zip(starts, seeds, strict=True):
        q = np.ascontiguousarray(start, dtype=np.float64)
        value, gradient = compiled.value_and_grad(q)
        n = compiled.density.num_free
        settled = {"key": seed, "num_warmup": num_warmup, **fields}
        found.append(State.create(q[:n], value, gradient[:n], metric, held=q[n:], **settled))
    return found
