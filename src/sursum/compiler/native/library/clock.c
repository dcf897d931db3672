/* Calls a compiled function many times: the seconds. */
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
