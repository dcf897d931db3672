"""The least and the largest value of each discrete coordinate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.density.init_values import JITTER
from sursum.density.layout import Latent, latent_of
from sursum.density.search import TRIES
from sursum.density.unconstrain import Placed
from sursum.density.whole import Whole
from sursum.errors import ArgumentError, ObservationError

_RUNS = 4
"""Points at which bounds are compared: one that differs between them depends on other sites."""


def find_limits(latents: Sequence[Latent], first: np.ndarray, run: Callable[[Placed], Trace]) -> np.ndarray:
    """The least and the largest value of each discrete coordinate, (m, 2); infinite where that varies.

    Args:
        latents: all of them, in the order of their coordinates; the discrete ones are last.
        first: a point at which the program runs, (n,).
        run: runs the program.
    """
    dim, by_name = len(first), {latent.name: latent for latent in latents}
    num_free = next((latent.start for latent in latents if latent.held), dim)
    if num_free == dim:
        return np.empty((0, 2))
    found: list[np.ndarray] = []
    for seed in range(TRIES):
        rng, limits = np.random.default_rng(seed), np.empty((dim, 2))

        def choose(site: Sample, free_shape: torch.Size, onto: Any, rng: Any = rng, limits: np.ndarray = limits) -> Tensor:
            latent = latent_of(by_name, site, free_shape)
            if isinstance(onto, Whole):
                limits[latent.start : latent.stop] = onto.limits(tuple(free_shape))
                return onto.drawn(site, rng, free_shape).to(latent.dtype).requires_grad_()
            near = first[latent.start : latent.stop] + rng.uniform(-JITTER, JITTER, latent.stop - latent.start)
            return torch.as_tensor(near, dtype=latent.dtype).reshape(free_shape).requires_grad_()

        with suppress(ArgumentError, ObservationError, ValueError, torch.linalg.LinAlgError):
            run(Placed(choose=choose))
            found.append(limits[num_free:])
        if len(found) == _RUNS:
            break
    anywhere = np.full((dim - num_free, 2), [-np.inf, np.inf])
    return np.where(np.all(found == found[0], axis=0), found[0], anywhere) if len(found) > 1 else anywhere
