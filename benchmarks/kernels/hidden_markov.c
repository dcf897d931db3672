/* The forward algorithm of a hidden Markov model and its gradient, 3 states and 10 symbols, by hand, in logarithms:
 * q = (log transition 3 x 3, log emission 3 x 10), unconstrained: the likelihood alone. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct hidden_markov {
    int64_t steps;
    const int64_t *y;
    double *alpha; /* (T + 1) x 3 */
};

int64_t hidden_markov(size_t dim, const double *q, double *grad, double *logp, void *data)
{
    const struct hidden_markov *const d = data;
    const int64_t T = d->steps;
    double *restrict const a = d->alpha;
    const double *const A = q, *const B = q + 9;
    if (dim != 39)
        return -1;
    for (int i = 0; i < 39; i++)
        grad[i] = 0.0;
    a[0] = a[1] = a[2] = 0.0;
    for (int64_t t = 0; t < T; t++) {
        const double *const c = a + 3 * t;
        for (int j = 0; j < 3; j++) {
            const double x = c[0] + A[j], y = c[1] + A[3 + j], z = c[2] + A[6 + j];
            const double m = fmax(x, fmax(y, z));
            a[3 * t + 3 + j] = m + log(exp(x - m) + exp(y - m) + exp(z - m)) + B[10 * j + d->y[t]];
        }
    }
    const double *const c = a + 3 * T;
    const double m = fmax(c[0], fmax(c[1], c[2])), total = m + log(exp(c[0] - m) + exp(c[1] - m) + exp(c[2] - m));
    double s[3];
    for (int j = 0; j < 3; j++)
        s[j] = exp(c[j] - total);
    for (int64_t t = T - 1; t >= 0; t--) {
        const double *const before = a + 3 * t, *const after = before + 3;
        double next[3] = {0.0, 0.0, 0.0};
        for (int j = 0; j < 3; j++) {
            const double emission = B[10 * j + d->y[t]];
            grad[9 + 10 * j + d->y[t]] += s[j];
            for (int i = 0; i < 3; i++) {
                const double w = s[j] * exp(before[i] + A[3 * i + j] + emission - after[j]);
                grad[3 * i + j] += w;
                next[i] += w;
            }
        }
        for (int i = 0; i < 3; i++)
            s[i] = next[i];
    }
    *logp = total;
    return 0;
}
