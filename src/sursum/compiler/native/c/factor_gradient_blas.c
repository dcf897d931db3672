/* needs: factor_halves */
/* The same for a batch. */
static void su_factor_gradient_blas(void *dgemm, void *threads, void *dtrsm, int64_t count, int64_t n, const double *l,
                                    double *s)
{
    for (int64_t b = 0; b < count; b++)
        su_factor_halves(dgemm, threads, dtrsm, n, l + b * n * n, s + b * n * n, n);
}
