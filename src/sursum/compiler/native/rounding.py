"""How much of a replay's result is rounding: what the last bit of every intermediate number can do to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode
from sursum.errors import DensityError

RUNS = 8


class Jitter(TorchDispatchMode):
    """Moves every floating-point result by up to one unit in its last place, in its own precision."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **dict(kwargs or {}))
        if any(returned.alias_info for returned in func._schema.returns):
            return result  # a view, or a write in place: nothing was rounded that is not rounded elsewhere
        return tuple(map(self._move, result)) if isinstance(result, (tuple, list)) else self._move(result)

    def _move(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        noise = torch.rand(value.shape, dtype=value.dtype, generator=self._generator) * 2 - 1
        return value + value * (torch.finfo(value.dtype).eps * noise)


def rounding(replay: Callable[[Tensor], Sequence[Tensor]], q: Tensor) -> list[NDArray[np.float64]]:
    """By how much each output of `replay` at `q` moves, at most, when all intermediate results are rounded otherwise.

    Two right programs for one function may differ by about this much: a matrix that is nearly singular makes it large.

    Returns:
        One array an output, NaN where a rounding makes the difference between a number and none.

    References:
        Parker (1997), Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic, UCLA CSD-970002.

    Example:
        >>> q = torch.tensor([1.0], dtype=torch.float64)
        >>> (steady,), (cancelled,) = (rounding(f, q) for f in (lambda q: (q + 1,), lambda q: ((q + 1e8) - 1e8,)))
        >>> bool(steady[0] < 1e-15), bool(cancelled[0] > 1e-9)
        (True, True)
    """
    moved: list[list[NDArray[np.float64]]] = []
    for run in range(RUNS):
        with Jitter(run):
            outputs = replay(q.clone())
        moved.append([output.detach().double().numpy() for output in outputs])
    with np.errstate(invalid="ignore"):
        return [np.ptp(np.stack(column), axis=0) for column in zip(*moved, strict=True)]


def fails_steadily(replay: Callable[[Tensor], Sequence[Tensor]], q: Tensor) -> bool:
    """Whether a check of `replay` fails at `q` whichever way intermediate results are rounded."""
    for run in range(RUNS):
        with contextlib.suppress(DensityError), Jitter(run):
            replay(q.clone())
            return False
    return True
