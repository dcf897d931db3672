"""Points at which a density is captured, compared with its program, and proved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sursum.density.log_density import LogDensity
from sursum.density.search import TRIES, runs
from sursum.errors import DensityError

_PROOFS = 2
_SCALES = (0.3, 3.0, 30.0)
_BESIDE = 0.01
_REACHES = (2.0, 2.0, 8.0)
#: If numbers leave torch undetected, this many more points are checked, from near to far.
WIDE = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0) * 3


def nearby_points(density: LogDensity) -> tuple[Tensor, Tensor]:
    """Two points at which the program is likely to run, as it did at one between them; they differ everywhere."""
    rng = np.random.default_rng(0)
    other, one = density.near(rng), density.near(rng)
    return torch.from_numpy(one), torch.from_numpy(other)


def points_of(density: LogDensity) -> tuple[Tensor, Tensor]:
    """Two points at which the program runs and has a finite density if possible; they differ in every coordinate."""
    rng = np.random.default_rng(0)
    points: list[Tensor] = []
    for begun, value in runs(lambda _: density.scored_start(rng)):
        q = torch.from_numpy(begun)
        finite = math.isfinite(value)
        points = [q, *points] if finite else [*points, q]
        if len(points) > 1 and finite:
            break
    if len(points) > 1:
        return points[0], points[1]
    raise DensityError(
        f"the program runs at one of {TRIES} points tried, and fails at all others. "
        "Give its parameters initial values at which it runs, or constrain the arguments of its distributions."
    )


def proof_points(points: tuple[Tensor, Tensor]) -> list[Tensor]:
    """New points for the program: about two at which it runs, and some far out, where checks fail and densities
    overflow.
    """
    rng = np.random.default_rng(1)
    one, other = (q.numpy() for q in points)
    dim = len(one)
    near = [one + rng.uniform(-0.5, 1.5, dim) * (other - one) + rng.uniform(-_BESIDE, _BESIDE, dim) for _ in range(_PROOFS)]
    far = [near[k % _PROOFS] + rng.normal(scale=scale, size=dim) for k, scale in enumerate(_SCALES)]
    return [torch.from_numpy(q) for q in near + far]


def far_points(known: Tensor, reaches: Sequence[float] = _REACHES) -> list[Tensor]:
    """Points well away from those of the capture, where a program may take a different branch."""
    rng = np.random.default_rng(2)
    return [known + torch.from_numpy(rng.uniform(-reach, reach, len(known))) for reach in reaches]
