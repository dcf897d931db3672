/* The Cholesky factor, column-major, in place: LAPACK's dpotrf where there is none. */
static void su_dpotrf(const char *uplo, const int *n, double *a, const int *lda, int *info)
{
    /* Entry (i, j), i >= j, of the lower factor is at (j, i) in an upper triangle. */
    const int64_t row = *uplo == 'U' ? *lda : 1, column = *uplo == 'U' ? 1 : *lda;
    *info = 0;
    for (int64_t j = 0; j < *n; j++) {
        double s = a[j * row + j * column];
        for (int64_t k = 0; k < j; k++)
            s -= a[j * row + k * column] * a[j * row + k * column];
        if (!(s > 0.0)) {
            *info = (int)j + 1;
            return;
        }
        const double pivot = a[j * row + j * column] = sqrt(s);
        for (int64_t i = j + 1; i < *n; i++) {
            double t = a[i * row + j * column];
            for (int64_t k = 0; k < j; k++)
                t -= a[i * row + k * column] * a[j * row + k * column];
            a[i * row + j * column] = t / pivot;
        }
    }
}
