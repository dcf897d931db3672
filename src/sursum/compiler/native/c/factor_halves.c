/* needs: factor_leaf, gemm */
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
