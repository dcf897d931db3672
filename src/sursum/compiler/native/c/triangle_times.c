/* y = U x; the zeros above are not numbers where they meet an x that is not finite, as in a product with all of U. */
static void su_triangle_times(int64_t n, const double *u, const double *x, double *y)
{
    double above = 0.0;
    for (int64_t i = n - 1; i >= 0; i--)
        y[i] = above += 0.0 * x[i];
    for (int64_t i = 0; i < n; u += i++) {
        double total = 0.0;
#pragma omp simd reduction(+:total)
        for (int64_t j = 0; j < i; j++)
            total += u[j] * x[j];
        y[i] += total;
    }
}
