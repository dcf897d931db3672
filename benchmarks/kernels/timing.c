/* Seconds that `calls` calls of a log density take. */

#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef int64_t (*density)(size_t, const double *, double *, double *, void *);

double seconds(density f, size_t dim, const double *q, double *grad, double *logp, void *user_data, int64_t calls)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int64_t k = 0; k < calls; k++)
        f(dim, q, grad, logp, user_data);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}
