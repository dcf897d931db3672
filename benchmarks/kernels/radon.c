/* Radon, varying intercept and slope, non-centred, as one would write it by hand: log density and gradient.

   mu_a, mu_b ~ Normal(0, 10), sigma_a, sigma_b, sigma ~ HalfNormal(1), za_g, zb_g ~ Normal(0, 1),
   y_i ~ Normal(a_g(i) + b_g(i) floor_i, sigma), a = mu_a + sigma_a za, b = mu_b + sigma_b zb;
   q = (mu_a, mu_b, log sigma_a, log sigma_b, log sigma, za, zb). */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { rows = 919, groups = 85 };

struct radon {
    const int64_t *group;
    const double *floor, *y;
};

int64_t kernel(size_t dim, const double *restrict q, double *restrict grad, double *restrict logp, void *user_data)
{
    const struct radon *const data = user_data;
    const int64_t *const restrict group = data->group;
    const double *const restrict floor = data->floor, *const restrict y = data->y;
    if (dim != 5 + 2 * groups)
        return -1;
    const double mu_a = q[0], mu_b = q[1], sa = exp(q[2]), sb = exp(q[3]), s = exp(q[4]);
    const double *const za = q + 5, *const zb = q + 5 + groups;
    double a[groups], b[groups], da[groups], db[groups];
    double prior = 0.0;
#pragma omp simd reduction(+ : prior)
    for (int g = 0; g < groups; g++) {
        a[g] = mu_a + sa * za[g];
        b[g] = mu_b + sb * zb[g];
        da[g] = db[g] = 0.0;
        prior += za[g] * za[g] + zb[g] * zb[g];
    }
    const double inverse = 1.0 / s;
    double squares = 0.0;
    for (int i = 0; i < rows; i++) {
        const int64_t g = group[i];
        const double r = (y[i] - (a[g] + b[g] * floor[i])) * inverse;
        const double d = r * inverse;
        squares += r * r;
        da[g] += d;
        db[g] += d * floor[i];
    }
    double d_mu_a = 0.0, d_mu_b = 0.0, d_sa = 0.0, d_sb = 0.0;
#pragma omp simd reduction(+ : d_mu_a, d_mu_b, d_sa, d_sb)
    for (int g = 0; g < groups; g++) {
        d_mu_a += da[g];
        d_mu_b += db[g];
        d_sa += da[g] * za[g];
        d_sb += db[g] * zb[g];
        grad[5 + g] = da[g] * sa - za[g];
        grad[5 + groups + g] = db[g] * sb - zb[g];
    }
    const double half_log_2pi = 0.91893853320467274178, log_2 = 0.69314718055994530942;
    *logp = -0.5 * prior - 0.5 * squares - rows * q[4] - (2 * groups + rows + 5) * half_log_2pi
            - 0.5 * (mu_a * mu_a + mu_b * mu_b) / 100.0 - 2.0 * log(10.0) + 3.0 * log_2
            - 0.5 * (sa * sa + sb * sb + s * s) + q[2] + q[3] + q[4];
    grad[0] = d_mu_a - mu_a / 100.0;
    grad[1] = d_mu_b - mu_b / 100.0;
    grad[2] = sa * d_sa - sa * sa + 1.0;
    grad[3] = sb * d_sb - sb * sb + 1.0;
    grad[4] = squares - rows - s * s + 1.0;
    return isfinite(*logp) ? 0 : 1;
}
