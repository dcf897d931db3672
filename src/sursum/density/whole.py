"""`Whole`: discrete sites as coordinates of a density, for kernels that draw them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent

from sursum.common.precision import default_dtype
from sursum.core.messages import Sample
from sursum.distributions import constraints
from sursum.distributions.fluent import Masked
from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import floating_dtype
from sursum.distributions.supports import bounds, peel, support_of
from sursum.errors import DensityError
from sursum.handlers.enumerate.support import LARGEST, finite_support

MOST_DOUBLINGS = 8
"""A start may be the largest of 2^k draws of the prior, for k up to this: counts below the data are impossible."""


@dataclass(frozen=True, eq=False)
class Whole:
    r"""The map from coordinates to the values of a discrete site: the nearest whole number inside its support.

    The density is zero where a coordinate lies beyond: the log-Jacobian is −∞ there, and otherwise zero.

    Args:
        site: for messages.
        lower, upper: of its support, numbers or tensors.
        dtype: of its values.
        classes: for one-hot vectors, whose coordinate is the number of the element that is 1.
    """

    site: str
    lower: Any
    upper: Any
    dtype: torch.dtype
    classes: int | None = None

    @classmethod
    def of(cls, site: Sample) -> Whole:
        """The map for a discrete site.

        Raises:
            DensityError: its elements cannot change one by one.
        """
        support = peel(support_of(site.fn))
        dtype = _dtype(site.fn)
        if support is constraints.one_hot:
            return cls(str(site), 0, int(site.fn.event_shape[-1]) - 1, dtype, int(site.fn.event_shape[-1]))
        found = bounds(support)
        if found is None or support.event_dim:
            raise DensityError(
                f"discrete site {site} cannot be drawn element by element: the elements of its values depend on one another "
                f"({type(site.fn).__name__}). Write it as several sites, or sum it out."
            )
        return cls(str(site), *found, dtype)

    def __call__(self, free: Tensor) -> Tensor:
        index = _inside(free.round(), self.lower, self.upper)
        if self.classes is None:
            return index.to(self.dtype)
        return torch.eye(self.classes, dtype=self.dtype)[index.long()]

    def inv(self, value: Tensor) -> Tensor:
        """The coordinates of values."""
        return (value if self.classes is None else value.argmax(-1)).to(torch.float64)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of the coordinates of values of this shape."""
        return shape if self.classes is None else shape[:-1]

    def log_abs_det_jacobian(self, free: Tensor, value: Tensor) -> Tensor:
        """Zero; −∞ beyond the support."""
        whole = free.round()
        holds = _inside(whole, self.lower, self.upper) == whole
        return torch.where(holds, torch.zeros_like(free), torch.full_like(free, -torch.inf))

    def limits(self, shape: tuple[int, ...]) -> np.ndarray:
        """The least and the largest value of each coordinate that never changes, (n, 2); infinite where there is none."""
        found = [_constant(limit, shape, beyond) for limit, beyond in ((self.lower, -math.inf), (self.upper, math.inf))]
        return np.stack(found, axis=-1)

    def drawn(self, site: Sample, rng: np.random.Generator, shape: torch.Size, doublings: int | None = None) -> Tensor:
        """Coordinates to start from, of this shape: the largest of 2^`doublings` draws of the prior, float64."""
        power = int(rng.integers(0, MOST_DOUBLINGS)) * int(rng.integers(0, 2)) if doublings is None else doublings
        generator = torch.Generator().manual_seed(int(rng.integers(0, 2**62)))
        steps = shape.numel() // max(self.inverse_shape(site.fn.batch_shape + site.fn.event_shape).numel(), 1)
        with torch.no_grad(), drawing_from(generator):
            many = self.inv(site.fn.sample(torch.Size([2**power, max(steps, 1)])))
        largest = many.amax(0).reshape(-1)
        return largest[: shape.numel()].reshape(shape)


def _dtype(fn: Any) -> torch.dtype:
    """That of draws of a discrete distribution."""
    while isinstance(fn, (Masked, Independent)):
        fn = fn.base_dist
    known = None if hasattr(fn, "total_count") else finite_support(fn)
    if known is not None and known.size <= LARGEST:
        return known.values().dtype
    return floating_dtype(fn) or default_dtype()


def _inside(value: Tensor, lower: Any, upper: Any) -> Tensor:
    """`value` moved to the nearest bound where it is beyond."""
    for limit, move in ((lower, torch.maximum), (upper, torch.minimum)):
        if isinstance(limit, Tensor) or math.isfinite(limit):
            value = move(value, torch.as_tensor(limit).to(value.dtype))
    return value


def _constant(limit: Any, shape: tuple[int, ...], beyond: float) -> np.ndarray:
    """A bound for each coordinate, `beyond` where it depends on other sites."""
    if isinstance(limit, Tensor):
        limit = torch.full_like(limit, beyond) if limit.requires_grad else limit.detach()
    wide = torch.as_tensor(limit, dtype=torch.float64)
    try:
        return wide.expand(shape).reshape(-1).numpy().copy()
    except RuntimeError:
        return np.full(int(np.prod(shape)), beyond)


__all__ = ["MOST_DOUBLINGS", "Whole"]
