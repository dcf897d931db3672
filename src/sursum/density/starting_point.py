"""A point to start from, found while the program runs: the coordinates of a site may depend on the values of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.core.calling import valued
from sursum.core.messages import Sample
from sursum.core.trace import Trace
from sursum.density.init_values import carry_over, place_given
from sursum.density.layout import Latent, latent_of
from sursum.density.unconstrain import Placed, Recalled
from sursum.density.whole import Whole


def starting_point(
    latents: Mapping[str, Latent],
    run: Callable[[Placed], Trace],
    rng: np.random.Generator,
    values: Mapping[str, Any],
    *,
    jitter: float,
    spread: float,
) -> tuple[np.ndarray, Trace, Placed]:
    """A starting point, float64 (n,), the execution there, and its log-Jacobians; arguments as for `LogDensity.start`.

    Args:
        latents: by name.
        run: runs the program.
    """
    q = np.empty(max(latent.stop for latent in latents.values()))

    def choose(site: Sample, free_shape: torch.Size, onto: Any) -> Tensor:
        latent = latent_of(latents, site, free_shape)
        width = latent.stop - latent.start
        carried = carry_over(site, onto)
        if carried is not None:  # in a scan it is the value of each step
            carried = carried.expand(free_shape)
        if values and carried is not None and site.infer.get("is_recalled"):
            # The replacement of a site may also have a value by name, but from different coordinates.
            free = carried.double().reshape(-1).numpy()
        elif site.name in values:
            free = place_given(site, values[site.name], onto, latent.shape)
        elif isinstance(onto, Whole):
            drawn = onto.drawn(site, rng, free_shape) if carried is None else carried
            free = drawn.double().reshape(-1).numpy()
        elif carried is None:
            free = rng.uniform(-spread, spread, width)
        else:
            free = carried.double().reshape(-1).numpy() + rng.uniform(-jitter, jitter, width)
        q[latent.start : latent.stop] = free
        return torch.as_tensor(free, dtype=latent.dtype).reshape(free_shape)

    dtype = max((latent.dtype for latent in latents.values()), key=lambda dtype: dtype.itemsize)
    recalled = {name: torch.as_tensor(value, dtype=dtype) for name, value in values.items() if name not in latents}
    at = Placed(choose=choose)
    with valued(), Recalled(values=recalled):
        return q, run(at), at
