/* What lies below the diagonal of g x'. */
static void su_triangle_outer(int64_t n, const double *g, const double *x, double *u)
{
    for (int64_t i = 0; i < n; u += i++) {
        const double factor = g[i];
#pragma omp simd
        for (int64_t j = 0; j < i; j++)
            u[j] = factor * x[j];
    }
}
