"""What every side of a benchmark measures with, and how it reports."""

from __future__ import annotations

import argparse
import ctypes
import json
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from benchmarks.kernels import library
from benchmarks.models import MODELS, Array

T = TypeVar("T")

#: What every run is brought to: 4 × (1000 + 1000).
CHAINS, FULL = 4, 2000


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every side understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--warmup", type=int, default=1000, help="draws of each chain before those that count")
    parser.add_argument("--draws", type=int, default=1000, help="draws of each chain; other than 1000 extrapolates to that")
    return parser


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and the result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def report(**figures: Any) -> None:
    """One line of JSON on standard output, the last."""
    print(json.dumps(figures))


def totals(cold: float, warm: float, warmup: int, draws: int) -> dict[str, Any]:
    """Cold and warm seconds of 4 × (1000 + 1000), extrapolated in proportion to the draws where fewer were made."""
    factor = FULL / (warmup + draws)
    return {"cold": cold + warm * (factor - 1.0), "warm": warm * factor, "extrapolated": factor != 1.0}


def slope(few: float, many: float, count: float) -> float | None:
    """Seconds for each of `count` more; None where noise has made the longer run the shorter one."""
    return (many - few) / count if many > few and count > 0 else None


def microseconds(seconds: float | None) -> float | None:
    """The same in microseconds, where it is known."""
    return None if seconds is None else seconds * 1e6


def extra_draws(seconds_per_draw: float) -> int:
    """How many draws more the long run of a chain makes: about three seconds' worth."""
    return int(np.clip(3.0 / seconds_per_draw, 100, 20000))


def raw_seconds(address: int, dim: int, user_data: int, q: Array, target: float = 0.2) -> float:
    """Seconds of a value and gradient at the C function at `address`, called from C: the least of five loops."""
    clock = library("timing").seconds
    clock.restype = ctypes.c_double
    q = np.ascontiguousarray(q, dtype=np.float64)
    gradient, value = np.zeros(dim), np.zeros(1)

    def loop(calls: int) -> float:
        pointers = [ctypes.c_void_p(p) for p in (q.ctypes.data, gradient.ctypes.data, value.ctypes.data, user_data)]
        seconds: float = clock(ctypes.c_void_p(address), ctypes.c_size_t(dim), *pointers, ctypes.c_int64(calls))
        return seconds

    calls = max(1, int(target / max(loop(10) / 10, 1e-9)))
    return min(loop(calls) for _ in range(5)) / calls


def smallest_ess(draws: Array) -> float:
    """The smallest bulk effective sample size of draws (chain, draw, n)."""
    arviz = _arviz()
    return float(min(arviz.ess(draws[..., i], method="bulk") for i in range(draws.shape[-1])))


def moments(model: str, samples: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """Mean and Monte-Carlo standard error of every element of the sites that are compared, by site."""
    found = {}
    for name in MODELS[model].compared:
        draws = np.asarray(samples[name], dtype=np.float64)
        flat = draws.reshape(*draws.shape[:2], -1)
        # (`arviz.mcse` fails beside some versions of numba.)
        size = [float(_arviz().ess(flat[..., i], method="mean")) for i in range(flat.shape[-1])]
        errors = (flat.std(axis=(0, 1)) / np.sqrt(size)).tolist()
        found[name] = [flat.mean(axis=(0, 1)).tolist(), errors]
    return found


def _arviz() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz
    return arviz
