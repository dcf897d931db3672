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
