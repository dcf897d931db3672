/* Stochastic volatility, non-centred, as one would write it by hand: log density and gradient.

   mu ~ Normal(0, 2), phi ~ Uniform(-1, 1), sigma ~ HalfNormal(1), z_t ~ Normal(0, 1), u_1 = z_1 / sqrt(1 - phi²),
   u_t = phi u_(t-1) + z_t, h = mu + sigma u, y_t ~ Normal(0, exp(h_t / 2)); q = (mu, logit((phi + 1) / 2), log sigma, z). */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { steps = 1000 };

__attribute__((simd("notinbranch"))) extern double exp(double);

struct volatility {
    const double *y;
};

int64_t kernel(size_t dim, const double *restrict q, double *restrict grad, double *restrict logp, void *user_data)
{
    const struct volatility *const data = user_data;
    const double *const restrict y = data->y;
    if (dim != 3 + steps)
        return -1;
    const double mu = q[0], p = 1.0 / (1.0 + exp(-q[1])), phi = 2.0 * p - 1.0, sigma = exp(q[2]), *const z = q + 3;
    double u[steps], d[steps];
    const double rest = 1.0 - phi * phi, root = sqrt(rest);
    u[0] = z[0] / root;
    for (int t = 1; t < steps; t++)
        u[t] = phi * u[t - 1] + z[t];
    double fit = 0.0, d_mu = 0.0, d_sigma = 0.0, squares = 0.0;
#pragma omp simd reduction(+ : fit, d_mu, d_sigma, squares)
    for (int t = 0; t < steps; t++) {
        const double h = mu + sigma * u[t], w = y[t] * y[t] * exp(-h);
        const double g = 0.5 * (w - 1.0);
        fit -= 0.5 * (w + h);
        d_mu += g;
        d_sigma += g * u[t];
        squares += z[t] * z[t];
        d[t] = g * sigma;
    }
    double d_phi = 0.0, carried = 0.0;
    for (int t = steps - 1; t > 0; t--) {
        carried = d[t] + phi * carried;
        d_phi += carried * u[t - 1];
        grad[3 + t] = carried - z[t];
    }
    carried = d[0] + phi * carried;
    grad[3] = carried / root - z[0];
    d_phi += carried * z[0] * phi / (rest * root);
    grad[0] = d_mu - mu / 4.0;
    grad[1] = d_phi * 2.0 * p * (1.0 - p) + 1.0 - 2.0 * p;
    grad[2] = sigma * (d_sigma - sigma) + 1.0;
    const double half_log_2pi = 0.91893853320467274178, log_2 = 0.69314718055994530942;
    *logp = fit - 0.5 * (squares + mu * mu / 4.0 + sigma * sigma) - (2 * steps + 2) * half_log_2pi - log_2 + log_2 - log_2
            + log_2 + log(p * (1.0 - p)) + q[2];
    return isfinite(*logp) ? 0 : 1;
}
