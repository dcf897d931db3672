"""Discrete sites that were summed out, recovered: the sums that gave a log density, gone through backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sursum.core.messages import Step
from sursum.core.scope import open_plates
from sursum.density.log_density import LogDensity
from sursum.handlers.enumerate.potentials import Variable


def slopes(
    density: LogDensity, q: Tensor, reduce: Any, added: Mapping[str, Tensor] = MappingProxyType({})
) -> dict[str, tuple[int, Tensor]]:
    """The derivatives of the log of the sum by the log densities of all values, and the dimension of those, by site.

    Args:
        density: one with discrete sites that are summed out.
        q: the coordinates of the others.
        reduce: how a variable is summed out: by `log_sum` the derivatives are probabilities, by `Backwards` one assignment.
        added: by site, to the log densities of its values, with a dimension for those before its batch.
    """
    plan = density.plan
    assert plan is not None  # it was checked
    tilts, dims = {}, {}
    for name, shape in plan.shapes.items():
        steps = len(shape) - len(plan.sites[name])
        whole = [*shape[:steps], plan.supports[name].size, *shape[steps:]]
        tilts[name], dims[name] = torch.zeros(whole, dtype=torch.float64, requires_grad=True), steps
    total = density.tilted(q, reduce, {name: tilt + added[name] if name in added else tilt for name, tilt in tilts.items()})
    found = torch.autograd.grad(total, list(tilts.values()), allow_unused=True, materialize_grads=True)
    return {name: (dims[name], slope) for name, slope in zip(tilts, found, strict=True)}


@dataclass
class Backwards:
    """Sums variables out such that the gradient of the result is one assignment: drawn with the probabilities, or the best.

    Of each sum the derivatives are the probabilities of its terms. Here that of one of them is 1, and of the others 0.

    Args:
        best: whether it is the most probable one.
        noise: uniform numbers, one for each draw that may be needed; None to find how many.
        places: which of them are whose.
    """

    best: bool
    noise: Tensor | None = None
    places: dict[Any, tuple[slice, torch.Size]] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        # Outside the steps of scans, which take their part of it.
        noise = self.noise
        self._parts = {} if noise is None else {key: noise[place].reshape(size) for key, (place, size) in self.places.items()}

    def __call__(self, table: Tensor, variables: Sequence[Variable]) -> Tensor:
        flat = table.flatten(0, len(variables) - 1)
        numbers = torch.arange(len(flat)).reshape(-1, *[1] * (flat.dim() - 1))
        if self.best:
            chosen = numbers == flat.argmax(0)
            return torch.where(chosen, flat, torch.zeros_like(flat)).sum(0)
        known = flat.detach()
        total = torch.logsumexp(known, 0)
        below = (known - total).exp().cumsum(0)
        index = (below < self._uniform(flat.shape[1:], variables) * below[-1]).sum(0)
        taken = torch.where(numbers == index.clamp(max=len(flat) - 1), flat, torch.zeros_like(flat)).sum(0)
        return total + (taken - taken.detach())

    def _uniform(self, shape: torch.Size, variables: Sequence[Variable]) -> Tensor:
        """The noise of these variables, in this step of a scan."""
        step = next((frame for frame in reversed(open_plates()) if isinstance(frame, Step)), None)
        key = (step is not None, tuple(variable.name for variable in variables))
        whole = shape if step is None else torch.Size([step.size, *shape])
        if self.noise is None:
            if key not in self.places:
                self.places[key] = slice(self.count, self.count + whole.numel()), whole
                self.count += whole.numel()
            return torch.full(shape, 0.5, dtype=torch.float64)
        return self._parts[key] if step is None else step.take(self._parts[key])
