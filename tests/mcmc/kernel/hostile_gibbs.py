"""A density in plain C some of whose coordinates are whole numbers, no number or infinite where it is told, and chains that
draw those before all others: as the kernels and NumPy's twin call it, and as a program."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from tests.mcmc.kernel.hostile import MODES

from sursum.mcmc.kernel.gibbs import HeldBlock, Sweep
from sursum.mcmc.kernel.state import State

LIMITS = np.array([[0.0, 5.0], [0.0, np.inf], [-np.inf, np.inf], [0.0, 1.0], [0.0, 1.0]])
"""One that has few values, one with a least value, one without any, and a block of two that are drawn at once."""

HELD = len(LIMITS)
BLOCKS = ((0, 1, 0), (1, 2, 0), (3, 2, 2))
"""First coordinate, how many, and noise of each."""

DENSITY = r"""
#include <math.h>
#include <stdint.h>
#include <stddef.h>
enum { HELD = 5 };
static int64_t mode_of(const void *user_data) { return *(const int64_t *)user_data; }

/* Normals, the whole numbers among them; the first coordinate moves the second whole number. Beyond q0 = 0.8 as told. */
int64_t whole(size_t size, const double *q, double *gradient, double *value, void *user_data)
{
    const int64_t mode = mode_of(user_data);
    const size_t n = size - HELD;
    const double *z = q + n, away = z[1] - 3.0 - (n ? 0.5 * q[0] : 0.0);
    double sum = -0.1 * (z[0] - 2.0) * (z[0] - 2.0) - 0.25 * away * away - 0.01 * z[2] * z[2] + 0.4 * z[3] - 0.3 * z[4];
    for (size_t i = 0; i < size; i++)
        gradient[i] = 0.0;
    for (size_t i = 0; i < n; i++) {
        gradient[i] = -q[i];
        sum -= 0.5 * q[i] * q[i];
    }
    if (n)
        gradient[0] += 0.25 * away;
    *value = sum;
    if (q[0] > 0.8) {
        if (mode == 1) gradient[0] = NAN;
        if (mode == 2) gradient[0] = INFINITY;
        if (mode == 3) *value = NAN;
        if (mode == 4) *value = INFINITY;
        if (mode == 5) *value = -INFINITY;
        if (mode == 6) for (size_t i = 0; i < n; i++) gradient[i] = 0.0;
    }
    for (size_t i = 0; i < size; i++)
        if (!isfinite(gradient[i]))
            return 1;
    return !isfinite(*value);
}

int64_t score_of_whole(size_t size, const double *q, double *out, double *value, void *user_data)
{
    double gradient[64];
    whole(size, q, gradient, value, user_data);
    out[0] = *value;
    return 0;
}

/* Two coins; beyond q0 = 0.8 there is nothing to draw from, or it fails. */
int64_t coins(size_t size, const double *q, double *out, double *value, void *user_data)
{
    const double *noise = q + size - 2;
    *value = 0.0;
    out[0] = noise[0] < 1.0 / (1.0 + exp(-0.4));
    out[1] = noise[1] < 1.0 / (1.0 + exp(0.3));
    return q[0] > 0.8 && mode_of(user_data) == 3;
}
"""

PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
enum { THREADS = 8, MOST = 150 };
struct job { struct chain *chain; int64_t mode, stop, made; double *q, *g; struct record *records; struct held held; };

static const double limits[] = {0.0, 5.0, 0.0, INFINITY, -INFINITY, INFINITY, 0.0, 1.0, 0.0, 1.0};

static void *work(void *argument)
{
    struct job *job = argument;
    struct block blocks[] = {{.count = 1}, {.first = 1, .count = 2}, {coins, &job->mode, 3, 2, 2}};
    job->held.blocks = blocks;
    for (job->made = 0; job->made < MOST;) { /* in pieces, as a run makes them */
        const int64_t more = MOST - job->made < 7 ? MOST - job->made : 7, at = job->made, n = job->held.n;
        const int64_t made = sursum_gibbs(job->chain, more, &job->stop, job->q + at * (n + HELD), job->g + at * n,
                                          job->records + at, &job->held);
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
        struct job *job = jobs + k;
        struct chain head;
        if (fread(&head, sizeof head, 1, file) != 1)
            return 2;
        job->chain = malloc((size_t)head.bytes);
        *job->chain = head;
        if (fread(job->chain + 1, (size_t)head.bytes - sizeof head, 1, file) != 1)
            return 3;
        job->mode = arguments[3 + k][0] - '0';
        const size_t n = (size_t)head.dim, size = n + HELD;
        job->q = malloc(MOST * size * sizeof(double));
        job->g = malloc((MOST * n + 1) * sizeof(double));
        job->records = malloc(MOST * sizeof(struct record));
        job->held = (struct held){.f = whole, .score = score_of_whole, .user_data = &job->mode, .score_data = &job->mode,
            .n = (int64_t)n, .m = HELD, .count = 3, .limits = limits, .q = malloc(size * sizeof(double)),
            .gradient = malloc(size * sizeof(double)), .out = malloc(size * sizeof(double)),
            .in = malloc((size + 2) * sizeof(double))};
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
        struct job *job = jobs + k;
        if (job->made != MOST || fwrite(job->chain, (size_t)job->chain->bytes, 1, file) != 1)
            return 6;
        void *const memory[] = {job->chain, job->q, job->g, job->records, job->held.q, job->held.gradient, job->held.out,
                                job->held.in};
        for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
            free(memory[i]);
    }
    free(jobs);
    free(threads);
    return fclose(file);
}
"""


@dataclass(frozen=True, eq=False)
class Instance:
    mode: ctypes.c_int64

    @property
    def pointer(self) -> int:
        return ctypes.addressof(self.mode)


@dataclass(frozen=True, eq=False)
class InC:
    """A function of the library as `HeldInC` takes it."""

    function: Any
    mode: str

    @property
    def address(self) -> int:
        return int(ctypes.cast(self.function, ctypes.c_void_p).value or 0)

    def instance(self) -> Instance:
        return Instance(ctypes.c_int64(MODES.index(self.mode)))

    def __call__(self, q: np.ndarray, count: int) -> tuple[int, float, np.ndarray]:
        """What it returns, the value, and `count` numbers of what it writes."""
        value, out, q = np.zeros(1), np.zeros(max(count, 1)), np.ascontiguousarray(q)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (q, out, value)]
        self.function.restype = ctypes.c_int64
        code = int(self.function(ctypes.c_size_t(len(q)), *pointers, ctypes.byref(self.instance().mode)))
        return code, float(value[0]), out


@dataclass(eq=False)
class HostileWhole:
    """The density of `free` coordinates that move and `HELD` that are whole numbers."""

    library: ctypes.CDLL
    free: int
    mode: str
    dim: int = field(init=False)
    address: int = field(init=False)

    def __post_init__(self) -> None:
        self.dim = self.free + HELD
        self.address = self._of("whole").address

    def _of(self, name: str) -> InC:
        return InC(getattr(self.library, name), self.mode)

    def instance(self) -> Instance:
        return self._of("whole").instance()

    def value_and_grad(self, q: np.ndarray) -> tuple[float, np.ndarray]:
        _, value, gradient = self._of("whole")(q, self.dim)
        return value, gradient

    def native(self) -> Sweep:
        """How the whole numbers are drawn, for C."""
        draws = (None, None, self._of("coins"))
        return Sweep(self._of("score_of_whole"), LIMITS, tuple(map(HeldBlock, *zip(*BLOCKS, strict=True), draws)))

    def by_numpy(self) -> Sweep:
        """The same for NumPy: a score that is no number counts as zero density, a draw that fails as no draw."""
        score = partial(self._of("score_of_whole"), count=1)

        def scored(q: np.ndarray) -> float:
            value = float(score(q)[2][0])
            return -np.inf if np.isnan(value) else value

        def coins(q: np.ndarray) -> np.ndarray:
            code, _, out = self._of("coins")(q, 2)
            return out if code == 0 else np.full(2, np.nan)

        return Sweep(scored, LIMITS, tuple(map(HeldBlock, *zip(*BLOCKS, strict=True), (None, None, coins))))


def begin(density: HostileWhole, **fields: Any) -> State:
    q = np.concatenate([np.full(density.free, 0.1), [0.0, 3.0, -2.0, 0.0, 1.0]])
    value, gradient = density.value_and_grad(q)
    free = density.free
    return State.create(q[:free], value, gradient[:free], held=q[free:], **{"num_warmup": 8, **fields})
