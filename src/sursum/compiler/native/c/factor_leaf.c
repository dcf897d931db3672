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
