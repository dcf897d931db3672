"""The indices of subsampled plates as inputs: a step asks for some of N, and the caller draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.core.messages import Sample, Site
from sursum.core.runtime import Messenger, handler, perform, required
from sursum.distributions.subsample import Subsample
from sursum.errors import CaptureError

#: How many of how many.
Request = tuple[int, int]


@handler
class Subsamples(Messenger):
    """Gives the plates inside their indices, in the order in which they ask.

    Args:
        asked: (B, N) of every plate that asks is added to it.
        given: the indices, int64 (B,) each; None gives the first B.
    """

    asked: list[Request] = required()
    given: Sequence[Tensor] | None = None

    def handle(self, site: Site) -> Any:
        if not isinstance(site, Sample) or not isinstance(site.fn, Subsample) or site.value is not None:
            return perform(site)
        self.asked.append((site.fn.count, site.fn.size))
        if self.given is None:
            return site.but(value=torch.arange(site.fn.count))
        place = len(self.asked) - 1
        if place >= len(self.given) or len(self.given[place]) != site.fn.count:
            raise CaptureError(
                f"plate {site} asks for another number of elements than in the first run of the step: what the program "
                "subsamples depends on the values, and cannot be an input."
            )
        return site.but(value=self.given[place])


def draw_indices(requests: Sequence[Request], seed: int, device: torch.device) -> list[Tensor]:
    """Some of N without replacement for each request, int64, each subset as likely as any other.

    Example:
        >>> [len(set(rows.tolist())) for rows in draw_indices([(3, 10), (2, 2)], 0, torch.device("cpu"))]
        [3, 2]
    """
    if not requests:
        return []
    if device.type == "cpu":
        return [torch.from_numpy(rows) for rows in choose_rows(requests, seed)]
    there = torch.Generator(device).manual_seed(seed)
    return [torch.randperm(size, generator=there, device=device)[:count] for count, size in requests]


def choose_rows(requests: Sequence[Request], seed: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """The same on the processor, as arrays."""
    if not requests:
        return []
    generator = np.random.Generator(np.random.SFC64(seed))
    return [generator.choice(size, count, replace=False, shuffle=False) for count, size in requests]
