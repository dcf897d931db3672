"""A fast path to a log density for optimisers, which call it many times in one thread, at valid points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sursum.common.progress import Display, NoProgress, ProgressState
from sursum.compiler.compiled import CompiledDensity
from sursum.compiler.native.library.library import SIGNATURE

Array = NDArray[np.float64]


def evaluator(compiled: CompiledDensity) -> Callable[[Array], tuple[float, Array]]:
    """`compiled.value_and_grad` for float64 arrays (n,), without argument checks, for one thread.

    For a small model those checks, and looking up the addresses of arrays, take several times as long as the C.

    Example:
        >>> import numpy as np, sursum as su, sursum.distributions as dist
        >>> value_and_grad = evaluator(su.compile(lambda: su.sample("z", dist.Normal(0.0, 1.0))))
        >>> round(value_and_grad(np.array([2.0]))[0], 4)
        -2.9189
    """
    native = compiled.native
    if native is None:
        return compiled.value_and_grad
    n, call, instance = native.dim, SIGNATURE(native.address), native.instance()
    point, slope, value = np.empty(n), np.empty(n), np.empty(1)
    addresses = point.ctypes.data, slope.ctypes.data, value.ctypes.data

    def value_and_grad(q: Array) -> tuple[float, Array]:
        point[:] = q
        call(n, *addresses, instance.pointer)
        return value.item(), slope.copy()

    return value_and_grad


def watched(value_and_grad: Callable[[Array], tuple[float, Array]], display: Display) -> Callable[[Array], tuple[float, Array]]:
    """The same function, which shows how often it was called, and the largest value."""
    if isinstance(display, NoProgress):
        return value_and_grad
    calls, best = 0, -np.inf

    def shown(q: Array) -> tuple[float, Array]:
        nonlocal calls, best
        found = value_and_grad(q)
        calls, best = calls + 1, max(best, found[0])
        display.update(lambda: ProgressState(0, 0, (f"{calls} gradients", f"log density {best:.6g}")))
        return found

    return shown
