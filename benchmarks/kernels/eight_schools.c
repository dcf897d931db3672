/* Eight schools, non-centred, as one would write it by hand: log density and gradient.

   mu ~ Normal(0, 5), tau ~ HalfCauchy(5), z_j ~ Normal(0, 1), y_j ~ Normal(mu + tau z_j, sigma_j);
   q = (mu, log tau, z_1 ... z_8). */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct eight_schools {
    const double *error, *effect;
};

int64_t kernel(size_t dim, const double *restrict q, double *restrict grad, double *restrict logp, void *user_data)
{
    const struct eight_schools *const data = user_data;
    const double *const restrict y = data->effect, *const restrict sigma = data->error;
    if (dim != 10)
        return -1;
    const double mu = q[0], tau = exp(q[1]), *const z = q + 2;
    const double scaled = tau / 5.0;
    double sum = 0.0, d_mu = 0.0, d_tau = 0.0;
#pragma omp simd reduction(+ : sum, d_mu, d_tau)
    for (int j = 0; j < 8; j++) {
        const double inverse = 1.0 / sigma[j];
        const double r = (y[j] - (mu + tau * z[j])) * inverse;
        const double s = r * inverse;
        sum += -0.5 * (r * r + z[j] * z[j]) - log(sigma[j]);
        d_mu += s;
        d_tau += s * z[j];
        grad[2 + j] = s * tau - z[j];
    }
    const double half_log_2pi = 0.91893853320467274178;
    *logp = sum - 17.0 * half_log_2pi - 0.5 * mu * mu / 25.0 - log(5.0) /* mu */
            + log(2.0 / (3.14159265358979323846 * 5.0)) - log1p(scaled * scaled) + q[1];
    grad[0] = d_mu - mu / 25.0;
    grad[1] = tau * (d_tau - 2.0 * tau / (25.0 + tau * tau)) + 1.0;
    return isfinite(*logp) ? 0 : 1;
}
