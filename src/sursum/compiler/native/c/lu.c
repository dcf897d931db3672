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
