"""C functions for the gradient of a Cholesky factor, after Murray, "Differentiation of the Cholesky decomposition" (2016)."""

from __future__ import annotations

FACTOR = {
    "su_factor_leaf": """
/* S, in whose lower triangle stands the gradient by L, becomes the symmetric gradient by L L'; rows are `step` apart. */
static void su_factor_leaf(int64_t n, const double *l, double *s, int64_t step)
{
    for (int64_t j = n - 1; j >= 0; j--) {
        const double *const r = l + j * step;
        double *const g = s + j * step;
        double d = 0.0;
        for (int64_t i = j + 1; i < n; i++) {
            d += l[i * step + j] * s[i * step + j];
            s[i * step + j] /= r[j];
        }
        g[j] = (g[j] - d / r[j]) / r[j];
#pragma omp simd
        for (int64_t k = 0; k < j; k++)
            g[k] -= g[j] * r[k];
        for (int64_t i = j + 1; i < n; i++) {
            const double c = s[i * step + j];
#pragma omp simd
            for (int64_t k = 0; k < j; k++) {
                g[k] -= c * l[i * step + k];
                s[i * step + k] -= c * r[k];
            }
        }
        g[j] *= 0.5;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            s[j * step + i] = s[i * step + j] *= 0.5;
}
""",
    "su_factor_gradient": """
/* The same for a batch. */
static void su_factor_gradient(int64_t count, int64_t n, const double *l, double *s)
{
    for (int64_t b = 0; b < count; b++)
        su_factor_leaf(n, l + b * n * n, s + b * n * n, n);
}
""",
    "su_factor_halves": """
/* The same with BLAS, which sees every matrix transposed: the lower half first, then what it does to the upper one. */
static void su_factor_halves(void *dgemm, void *threads, void *dtrsm, int64_t n, const double *l, double *s, int64_t step)
{
    if (n <= 24) {
        su_factor_leaf(n, l, s, step);
        return;
    }
    const int64_t h = n / 2, m = n - h;
    const double *const below = l + h * step;
    double *const left = s + h * step, half = 0.5;
    int rows = (int)h, columns = (int)m, leading = (int)step;
    su_factor_halves(dgemm, threads, dtrsm, m, below + h, left + h, step);
    su_gemm(dgemm, threads, 'N', 'N', rows, columns, columns, -2.0, below, leading, left + h, leading, 1.0, left, leading);
    ((void (*)(char *, char *, char *, char *, int *, int *, double *, const double *, int *, double *, int *))
         dtrsm)("L", "U", "N", "N", &rows, &columns, &half, l, &leading, left, &leading);
    su_gemm(dgemm, threads, 'N', 'T', rows, rows, columns, -2.0, below, leading, left, leading, 1.0, s, leading);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < h; j++)
            s[j * step + h + i] = left[i * step + j];
    su_factor_halves(dgemm, threads, dtrsm, h, l, s, step);
}
""",
    "su_factor_gradient_blas": """
/* The same for a batch. */
static void su_factor_gradient_blas(void *dgemm, void *threads, void *dtrsm, int64_t count, int64_t n, const double *l,
                                    double *s)
{
    for (int64_t b = 0; b < count; b++)
        su_factor_halves(dgemm, threads, dtrsm, n, l + b * n * n, s + b * n * n, n);
}
""",
}
