"""A clock for compiled functions: calls from C, since a call from Python costs many times what a small density does."""

from __future__ import annotations

import ctypes
from importlib.resources import files

import numpy as np

from sursum.compiler.native.library.library import Doubles, NativeFunction
from sursum.compiler.native.library.loaded import load


def time_calls(function: NativeFunction, q: Doubles, calls: int) -> float:
    """Seconds that this many calls at q take, in this thread."""
    clock = load(files(__package__).joinpath("clock.c").read_text(encoding="ascii"), ("sursum_clock",)).handle.sursum_clock
    clock.restype = ctypes.c_double
    point, out, value = np.ascontiguousarray(q, dtype=np.float64), np.empty(function.size), np.empty(1)
    instance = function.instance()
    arrays = (ctypes.c_void_p(array.ctypes.data) for array in (point, out, value))
    return float(
        clock(
            ctypes.c_void_p(function.address),
            ctypes.c_size_t(function.dim),
            *arrays,
            ctypes.c_void_p(instance.pointer),
            ctypes.c_int64(calls),
        )
    )
