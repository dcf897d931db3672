/* The same by LAPACK: a row-major lower triangle is a column-major upper one. */
static void su_cholesky_lapack(void *dpotrf, int64_t count, int64_t n, const double *a, double *l, int64_t *code)
{
    int size = (int)n, info;
    for (int64_t b = 0; b < count; b++, a += n * n, l += n * n) {
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                l[i * n + j] = j <= i ? a[i * n + j] : 0.0;
        ((void (*)(char *, int *, double *, int *, int *))dpotrf)("U", &size, l, &size, &info);
        for (int i = 0; i < size && !info; i++) /* not every LAPACK notices a NaN */
            if (!(l[i * n + i] > 0.0))
                info = i + 1;
        code[b] = info;
    }
}
