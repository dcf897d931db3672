"""A density in plain C that is not a number, infinite, zero or flat where it is told, for any number of unknowns; and chains of
it, one after another or in threads, as a program."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DRAWS = 150

MODES = ("plain", "nan gradient", "infinite gradient", "nan", "infinite", "zero", "flat")

DENSITY = r"""
#include <math.h>
#include <stdint.h>
#include <stddef.h>
/* Normal, with standard deviations 1, 2, 3, 1, ...; beyond q0 = 0.8 as user_data says. The return value says nothing. */
int64_t hostile(size_t n, const double *q, double *gradient, double *value, void *user_data)
{
    const int64_t mode = *(const int64_t *)user_data;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double s = 1.0 + (double)(i % 3);
        gradient[i] = -q[i] / (s * s);
        sum += 0.5 * q[i] * gradient[i];
    }
    *value = sum;
    if (q[0] > 0.8) {
        if (mode == 1) gradient[n - 1] = NAN;
        if (mode == 2) gradient[n - 1] = INFINITY;
        if (mode == 3) *value = NAN;
        if (mode == 4) *value = INFINITY;
        if (mode == 5) *value = -INFINITY;
        if (mode == 6) for (size_t i = 0; i < n; i++) gradient[i] = 0.0;
    }
    return 0;
}
"""

PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
enum { THREADS = 8, MOST = 150 };
struct job { struct chain *chain; int64_t mode, stop, made; double *q, *g; struct record *records; };

static void *work(void *argument)
{
    struct job *job = argument;
    for (job->made = 0; job->made < MOST;) { /* in pieces, as a run makes them */
        const int64_t more = MOST - job->made < 7 ? MOST - job->made : 7, at = job->made;
        const int64_t made = sursum_advance(job->chain, more, hostile, &job->mode, &job->stop, job->q + at * job->chain->dim,
                                            job->g + at * job->chain->dim, job->records + at);
        if (made < 0)
            return job;
        job->made += made;
    }
    return NULL;
}

/* Arguments: 1 for threads, else 0; a file with states, which is overwritten; the mode of each. */
int main(int count, char **arguments)
{
    const int together = arguments[1][0] == '1', chains = count - 3;
    FILE *file = fopen(arguments[2], "r+b");
    struct job *jobs = calloc((size_t)chains, sizeof *jobs);
    pthread_t *threads = calloc((size_t)chains, sizeof *threads);
    for (int k = 0; k < chains; k++) {
        struct chain head;
        if (fread(&head, sizeof head, 1, file) != 1)
            return 2;
        jobs[k].chain = malloc((size_t)head.bytes);
        *jobs[k].chain = head;
        if (fread(jobs[k].chain + 1, (size_t)head.bytes - sizeof head, 1, file) != 1)
            return 3;
        jobs[k].mode = arguments[3 + k][0] - '0';
        jobs[k].q = malloc(MOST * (size_t)head.dim * sizeof(double));
        jobs[k].g = malloc(MOST * (size_t)head.dim * sizeof(double));
        jobs[k].records = malloc(MOST * sizeof(struct record));
    }
    for (int begin = 0; begin < chains; begin += THREADS) {
        const int end = begin + THREADS < chains ? begin + THREADS : chains;
        for (int k = begin; k < end; k++)
            if (!together)
                work(jobs + k);
            else if (pthread_create(threads + k, NULL, work, jobs + k))
                return 4;
        for (int k = begin; together && k < end; k++) { /* which rest and go on at any moment, and are looked at meanwhile */
            for (int i = 0; i < 200; i++) {
                __atomic_store_n(&jobs[k].stop, i % 2 ? GO_ON : REST, __ATOMIC_RELAXED);
                if (__atomic_load_n(&jobs[k].chain->draw, __ATOMIC_ACQUIRE) < 0)
                    return 5;
            }
            pthread_join(threads[k], NULL);
        }
    }
    rewind(file);
    for (int k = 0; k < chains; k++) {
        if (jobs[k].made != MOST || fwrite(jobs[k].chain, (size_t)jobs[k].chain->bytes, 1, file) != 1)
            return 6;
        free(jobs[k].chain);
        free(jobs[k].q);
        free(jobs[k].g);
        free(jobs[k].records);
    }
    free(jobs);
    free(threads);
    return fclose(file);
}
"""


def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("no C compiler")
    return found


@dataclass(frozen=True, eq=False)
class Instance:
    mode: ctypes.c_int64

    @property
    def pointer(self) -> int:
        return ctypes.addressof(self.mode)


@dataclass(eq=False)
class Hostile:
    """The density, as the kernels and as NumPy's twin call it."""

    library: ctypes.CDLL
    dim: int
    mode: str
    address: int = field(init=False)

    def __post_init__(self) -> None:
        self.address = int(ctypes.cast(self.library.hostile, ctypes.c_void_p).value or 0)

    def instance(self) -> Instance:
        return Instance(ctypes.c_int64(MODES.index(self.mode)))

    def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, q = np.zeros(1), np.empty(self.dim), np.ascontiguousarray(q)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (q, gradient, value)]
        self.library.hostile(ctypes.c_size_t(self.dim), *pointers, ctypes.byref(self.instance().mode))
        return float(value[0]), gradient


def library(folder: Path, density: str = DENSITY) -> ctypes.CDLL:
    """The density, compiled."""
    (folder / "hostile.c").write_text(density)
    flags = ("-O2", "-shared", "-fPIC")
    subprocess.run([compiler(), *flags, str(folder / "hostile.c"), "-o", str(folder / "hostile.so")], check=True)
    return ctypes.CDLL(str(folder / "hostile.so"))


def program(folder: Path, source: str, *flags: str, chains: str = DENSITY + PROGRAM) -> Path:
    """Chains of the density, as a program that is compiled with these flags.

    Args:
        source: of the kernels.
        chains: the density and the program.
    """
    (folder / "chains.c").write_text(source + chains)
    common = ("-O1", "-g", "-fopenmp-simd", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
    made = folder / "chains"
    done = subprocess.run(
        [compiler(), *common, *flags, str(folder / "chains.c"), "-o", str(made), "-lm", "-lpthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "cannot find" in done.stderr:
        pytest.skip("no such sanitizer here")
    assert done.returncode == 0, done.stderr
    return made


def run(made: Path, states: list[Any], modes: list[str], *, threads: bool) -> tuple[bytes, str]:
    """The states after `DRAWS` draws each, and what the sanitizer said; fails where it found something."""
    path = made.with_suffix(".states")
    path.write_bytes(b"".join(state.block.tobytes() for state in states))
    numbers = [str(MODES.index(mode)) for mode in modes]
    done = subprocess.run(
        [str(made), str(int(threads)), str(path), *numbers], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-4000:])
    return path.read_bytes(), done.stderr
