/* Logistic regression, as one would write it by hand: log density and gradient in one pass over the matrix.

   alpha ~ Normal(0, 2.5), beta_k ~ Normal(0, 1), y_i ~ Bernoulli(logit⁻¹(alpha + x_i·beta)); q = (alpha, beta).
   Compiled for one size, ROWS and COLUMNS. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

enum { rows = ROWS, columns = COLUMNS, block = 40 };

__attribute__((simd("notinbranch"))) extern double exp(double);
__attribute__((simd("notinbranch"))) extern double log1p(double);

struct logistic {
    const double *x, *y;
};

int64_t kernel(size_t dim, const double *restrict q, double *restrict grad, double *restrict logp, void *user_data)
{
    const struct logistic *const data = user_data;
    const double *const restrict x = data->x, *const restrict y = data->y;
    if (dim != 1 + columns)
        return -1;
    const double alpha = q[0], *const beta = q + 1;
    double d_beta[columns], d_alpha = 0.0, fit = 0.0;
    for (int k = 0; k < columns; k++)
        d_beta[k] = 0.0;
    for (int start = 0; start < rows; start += block) {
        double r[block];
        for (int i = 0; i < block; i++) {
            double eta = 0.0;
#pragma omp simd reduction(+ : eta)
            for (int k = 0; k < columns; k++)
                eta += x[(int64_t)(start + i) * columns + k] * beta[k];
            r[i] = eta;
        }
#pragma omp simd reduction(+ : fit, d_alpha)
        for (int i = 0; i < block; i++) {
            const double eta = alpha + r[i], e = exp(-fabs(eta));
            fit += y[start + i] * eta - ((eta > 0.0 ? eta : 0.0) + log1p(e));
            r[i] = y[start + i] - (eta >= 0.0 ? 1.0 : e) / (1.0 + e);
            d_alpha += r[i];
        }
        for (int i = 0; i < block; i++)
#pragma omp simd
            for (int k = 0; k < columns; k++)
                d_beta[k] += x[(int64_t)(start + i) * columns + k] * r[i];
    }
    double squares = 0.0;
    for (int k = 0; k < columns; k++) {
        squares += beta[k] * beta[k];
        grad[1 + k] = d_beta[k] - beta[k];
    }
    grad[0] = d_alpha - alpha / 6.25;
    *logp = fit - 0.5 * (squares + alpha * alpha / 6.25) - log(2.5) - (1 + columns) * 0.91893853320467274178;
    return isfinite(*logp) ? 0 : 1;
}
