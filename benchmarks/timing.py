"""What both sides of a benchmark measure with."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
KERNELS = Path(__file__).parent / "kernels"
FLAGS = ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"]


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def without_cache(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes with an empty cache of compiled densities; the median of three."""
    before = os.environ.get("SURSUM_CACHE")
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as directory:
            os.environ["SURSUM_CACHE"] = directory
            seconds.append(timed(run)[0])
    if before is None:
        del os.environ["SURSUM_CACHE"]
    else:
        os.environ["SURSUM_CACHE"] = before
    return float(np.median(seconds))


def _library(*names: str) -> ctypes.CDLL:
    directory = tempfile.mkdtemp()
    path = Path(directory) / "kernels.so"
    sources = [str(KERNELS / f"{name}.c") for name in names]
    subprocess.run([os.environ.get("CC", "cc"), *FLAGS, *sources, "-o", str(path), "-lm"], check=True)
    return ctypes.CDLL(str(path))


def _clocked(address: int, dim: int, q: np.ndarray, user_data: int, target: float = 0.3) -> float:
    """Seconds per call, called from C: the least of five loops of about `target` seconds."""
    clock = _library("timing").seconds
    clock.restype = ctypes.c_double
    q = np.ascontiguousarray(q, dtype=np.float64)
    gradient, value = np.zeros(dim), np.zeros(1)

    def loop(calls: int) -> float:
        pointers = [ctypes.c_void_p(p) for p in (q.ctypes.data, gradient.ctypes.data, value.ctypes.data, user_data)]
        seconds: float = clock(ctypes.c_void_p(address), ctypes.c_size_t(dim), *pointers, ctypes.c_int64(calls))
        return seconds

    calls = max(1, int(target / max(loop(1000) / 1000, 1e-9)))
    return min(loop(calls) for _ in range(5)) / calls


def raw_seconds(address: int, dim: int, instance: Any, q: np.ndarray) -> float:
    """Seconds of a value and gradient at the C function at `address`."""
    return _clocked(address, dim, q, instance.pointer)


def kernel_seconds(model: str) -> float:
    """Seconds of a value and gradient of the kernel written by hand, compiled with the same flags."""
    from benchmarks import models

    library = _library(model)
    address = ctypes.cast(getattr(library, model), ctypes.c_void_p).value or 0
    rng = np.random.default_rng(0)
    if model == "eight_schools":
        data = np.concatenate([models.EFFECT, models.ERROR])
        return _clocked(address, 10, rng.normal(size=10), data.ctypes.data)
    county, floor, y = models.survey()
    columns = [np.ascontiguousarray(county, dtype=np.int64), floor, y]
    pointers = (ctypes.c_void_p * 3)(*(column.ctypes.data for column in columns))
    return _clocked(address, 5 + 2 * models.GROUPS, 0.1 * rng.normal(size=175), ctypes.addressof(pointers))


def smallest_ess(draws: np.ndarray) -> float:
    """The smallest bulk effective sample size of draws (chain, draw, n)."""
    arviz = _arviz()
    return float(min(arviz.ess(draws[..., i], method="bulk") for i in range(draws.shape[-1])))


def standard_error(draws: np.ndarray) -> float:
    """The Monte-Carlo standard error of the mean of draws (chain, draw)."""
    return float(draws.std(ddof=1) / np.sqrt(_arviz().ess(draws, method="mean")))


def _arviz() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz
    return arviz
