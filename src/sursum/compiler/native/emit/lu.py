"""C of LU factors with row exchanges."""

LU = {
    "su_lu": """
/* P A = L U for n by n matrices, both factors in one; `row` tells with which row (from 1) each changed places; code 0, or
   the first zero pivot (from 1). */
static void su_lu(int64_t count, int64_t n, const double *a, double *f, int64_t *row, int64_t *code)
{
    for (int64_t b = 0; b < count; b++, a += n * n, f += n * n, row += n) {
        for (int64_t i = 0; i < n * n; i++)
            f[i] = a[i];
        code[b] = 0;
        for (int64_t k = 0; k < n; k++) {
            int64_t best = k;
            for (int64_t i = k + 1; i < n; i++)
                if (fabs(f[i * n + k]) > fabs(f[best * n + k]))
                    best = i;
            row[k] = best + 1;
            if (f[best * n + k] == 0.0) {
                if (!code[b])
                    code[b] = k + 1;
                continue;
            }
            if (best != k)
                for (int64_t j = 0; j < n; j++) {
                    const double t = f[k * n + j];
                    f[k * n + j] = f[best * n + j];
                    f[best * n + j] = t;
                }
            for (int64_t i = k + 1; i < n; i++) {
                const double ratio = f[i * n + k] / f[k * n + k];
                f[i * n + k] = ratio;
#pragma omp simd
                for (int64_t j = k + 1; j < n; j++)
                    f[i * n + j] -= ratio * f[k * n + j];
            }
        }
    }
}
""",
    "su_lu_solve": """
/* A X = B, or the transpose of A, in place of B (n by m), from the factors of A; `several` if each B has its own. */
static void su_lu_solve(int64_t count, int64_t n, int64_t m, const double *f, const double *row, int several, int adjoint,
                        double *x)
{
    for (int64_t b = 0; b < count; b++, x += n * m, f += several ? n * n : 0, row += several ? n : 0) {
        for (int64_t r = 0; !adjoint && r < n; r++) {
            const int64_t other = (int64_t)row[r] - 1;
            for (int64_t j = 0; other != r && j < m; j++) {
                const double t = x[r * m + j];
                x[r * m + j] = x[other * m + j];
                x[other * m + j] = t;
            }
        }
        for (int pass = 0; pass < 2; pass++) { /* the lower triangle, then the upper one; of the transpose the other way */
            const int upper = pass != adjoint, down = pass == 0;
            for (int64_t r = 0; r < n; r++) {
                const int64_t i = down ? r : n - 1 - r, from = down ? 0 : i + 1, to = down ? i : n;
                for (int64_t k = from; k < to; k++) {
                    const double c = adjoint ? f[k * n + i] : f[i * n + k];
#pragma omp simd
                    for (int64_t j = 0; j < m; j++)
                        x[i * m + j] -= c * x[k * m + j];
                }
                for (int64_t j = 0; upper && j < m; j++)
                    x[i * m + j] /= f[i * n + i];
            }
        }
        for (int64_t r = n; adjoint && r-- > 0;) {
            const int64_t other = (int64_t)row[r] - 1;
            for (int64_t j = 0; other != r && j < m; j++) {
                const double t = x[r * m + j];
                x[r * m + j] = x[other * m + j];
                x[other * m + j] = t;
            }
        }
    }
}
""",
}
