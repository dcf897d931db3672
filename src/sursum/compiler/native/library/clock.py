"""A clock for compiled functions: calls from C, since a call from Python costs many times what a small density does."""

from __future__ import annotations

import ctypes

import numpy as np

from sursum.compiler.native.library.library import Doubles, NativeFunction
from sursum.compiler.native.library.loaded import load

SOURCE = """\
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef int64_t function(size_t, const double *, double *, double *, void *);

double sursum_clock(function *f, size_t dim, const double *q, double *out, double *logp, void *user_data, int64_t calls)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int64_t i = 0; i < calls; i++)
        f(dim, q, out, logp, user_data);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}
"""


def clocked(function: NativeFunction, q: Doubles, calls: int) -> float:
    """Seconds that so many calls at q take, in this thread."""
    clock = load(SOURCE, ("sursum_clock",)).handle.sursum_clock
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
