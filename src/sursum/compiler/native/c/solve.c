/* A X = B for triangles, in place of B (n by m); `step` from one triangle to the next, `turned` if the memory holds the
   transpose of A, `unit` if the diagonal is taken for ones. */
static void su_solve(int64_t count, int64_t n, int64_t m, const double *a, int64_t step, int turned, int upper,
                     int unit, double *x)
{
    const int64_t row = turned ? 1 : n, column = turned ? n : 1;
    for (int64_t b = 0; b < count; b++, a += step, x += n * m)
        for (int64_t r = 0; r < n; r++) {
            const int64_t i = upper ? n - 1 - r : r;
            const int64_t from = upper ? i + 1 : 0, to = upper ? n : i;
            for (int64_t k = from; k < to; k++) {
                const double f = a[i * row + k * column];
#pragma omp simd
                for (int64_t j = 0; j < m; j++)
                    x[i * m + j] -= f * x[k * m + j];
            }
            if (!unit) {
                const double d = a[i * row + i * column];
                for (int64_t j = 0; j < m; j++)
                    x[i * m + j] /= d;
            }
        }
}
