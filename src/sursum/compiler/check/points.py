"""Points at which a density is captured, compared with its program, and proved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sursum.density.log_density import LogDensity
from sursum.errors import ArgumentError, DensityError, ObservationError, SursumError

_PROOFS = 2
_SCALES = (0.3, 3.0, 30.0)
_BESIDE = 0.01
_REACHES = (2.0, 2.0, 8.0)
#: Where numbers leave torch unseen, that many more points are looked at, from near to far.
WIDE = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0) * 3
_TRIES = 100


def points_of(density: LogDensity) -> tuple[Tensor, Tensor]:
    """Two points at which the program runs and has a finite density, if such are found; they differ everywhere."""
    rng = np.random.default_rng(0)
    runs: list[Tensor] = []
    failure: Exception | None = None
    for _ in range(_TRIES):
        try:
            begun, value = density.scored_start(rng)
            q = torch.from_numpy(begun)
        except (ArgumentError, ObservationError) as error:
            # They may hold elsewhere.
            failure = error
            continue
        except SursumError:
            raise
        except (ValueError, torch.linalg.LinAlgError) as error:
            failure = error
            continue
        finite = math.isfinite(value)
        runs = [q, *runs] if finite else [*runs, q]
        if len(runs) > 1 and finite:
            break
    if len(runs) > 1:
        return runs[0], runs[1]
    raise DensityError(
        f"the program fails wherever it was tried, {_TRIES} times: {failure}. "
        "Give its parameters initial values at which it runs, or constrain what its distributions are given."
    ) from failure


def proof_points(points: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Points where the program has not been run yet: about two at which it runs, and far out, where checks fail and densities
    overflow.
    """
    rng = np.random.default_rng(1)
    one, other = (q.numpy() for q in points)
    dim = len(one)
    near = [one + rng.uniform(-0.5, 1.5, dim) * (other - one) + rng.uniform(-_BESIDE, _BESIDE, dim) for _ in range(_PROOFS)]
    far = [near[k % _PROOFS] + rng.normal(scale=scale, size=dim) for k, scale in enumerate(_SCALES)]
    return [torch.from_numpy(q) for q in near + far]


def far_points(known: Tensor, reaches: Sequence[float] = _REACHES) -> list[Tensor]:
    """Points well away from those of the capture, where a program may take another branch."""
    rng = np.random.default_rng(2)
    return [known + torch.from_numpy(rng.uniform(-reach, reach, len(known))) for reach in reaches]
