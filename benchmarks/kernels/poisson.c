/* Poisson regression with group effects, as one would write it by hand: log density and gradient.

   mu, b ~ Normal(0, 1), sigma ~ HalfNormal(1), z_g ~ Normal(0, 1), y_i ~ Poisson(exp(mu + sigma z_g(i) + b floor_i));
   q = (mu, log sigma, b, z). */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { rows = 919, groups = 85 };

__attribute__((simd("notinbranch"))) extern double exp(double);

struct poisson {
    const int64_t *group;
    const double *floor, *y;
};

static double constant(const double *y)
{
    double total = 0.0;
    for (int i = 0; i < rows; i++)
        total += lgamma(y[i] + 1.0);
    return total;
}

int64_t kernel(size_t dim, const double *restrict q, double *restrict grad, double *restrict logp, void *user_data)
{
    static double factorials = -1.0; /* of the data: computed by the first call */
    const struct poisson *const data = user_data;
    const int64_t *const restrict group = data->group;
    const double *const restrict floor = data->floor, *const restrict y = data->y;
    if (dim != 3 + groups)
        return -1;
    if (factorials < 0.0)
        factorials = constant(y);
    const double mu = q[0], s = exp(q[1]), b = q[2], *const z = q + 3;
    double effect[groups], d_effect[groups], eta[rows];
    double prior = 0.0;
#pragma omp simd reduction(+ : prior)
    for (int g = 0; g < groups; g++) {
        effect[g] = mu + s * z[g];
        d_effect[g] = 0.0;
        prior += z[g] * z[g];
    }
    double fit = 0.0, d_b = 0.0;
#pragma omp simd reduction(+ : fit, d_b)
    for (int i = 0; i < rows; i++) {
        const double x = effect[group[i]] + b * floor[i], rate = exp(x);
        fit += y[i] * x - rate;
        eta[i] = y[i] - rate;
        d_b += (y[i] - rate) * floor[i];
    }
    for (int i = 0; i < rows; i++)
        d_effect[group[i]] += eta[i];
    double d_mu = 0.0, d_s = 0.0;
#pragma omp simd reduction(+ : d_mu, d_s)
    for (int g = 0; g < groups; g++) {
        d_mu += d_effect[g];
        d_s += d_effect[g] * z[g];
        grad[3 + g] = d_effect[g] * s - z[g];
    }
    const double half_log_2pi = 0.91893853320467274178, log_2 = 0.69314718055994530942;
    *logp = fit - factorials - 0.5 * (prior + mu * mu + b * b + s * s) - (groups + 3) * half_log_2pi + log_2 + q[1];
    grad[0] = d_mu - mu;
    grad[1] = s * (d_s - s) + 1.0;
    grad[2] = d_b - b;
    return isfinite(*logp) ? 0 : 1;
}
