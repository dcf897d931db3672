/* Eigenvalues, ascending, and eigenvectors of a symmetric matrix, column-major, in its place: LAPACK's dsyevd where there is
   none. By rotations of Jacobi's: Golub and Van Loan, "Matrix Computations", section 8.5. `work` holds n * n and more. */
static void su_dsyevd(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
                      const int *lwork, int *iwork, const int *liwork, int *info)
{
    const int64_t size = *n, step = *lda;
    (void)jobz, (void)lwork, (void)iwork, (void)liwork;
    for (int64_t j = 0; j < size; j++)
        for (int64_t i = 0; i < size; i++)
            work[j * size + i] = (*uplo == 'U') == (i <= j) || i == j ? a[j * step + i] : a[i * step + j];
    for (int64_t j = 0; j < size; j++)
        for (int64_t i = 0; i < size; i++)
            a[j * step + i] = i == j;
    *info = 1;
    for (int sweep = 0; sweep < 60 && *info; sweep++) {
        *info = 0;
        for (int64_t p = 0; p < size; p++)
            for (int64_t q = p + 1; q < size; q++) {
                const double off = work[q * size + p], least = work[p * size + p], most = work[q * size + q];
                if (!(fabs(off) > 1e-17 * sqrt(fabs(least * most)) && fabs(off) > 1e-300))
                    continue;
                *info = 1;
                const double ratio = (most - least) / (2.0 * off);
                const double t = copysign(1.0, ratio) / (fabs(ratio) + hypot(1.0, ratio));
                const double c = 1.0 / hypot(1.0, t), s = t * c;
                for (int64_t k = 0; k < size; k++) {
                    const double x = work[p * size + k], y = work[q * size + k];
                    work[p * size + k] = c * x - s * y;
                    work[q * size + k] = s * x + c * y;
                }
                for (int64_t k = 0; k < size; k++) {
                    const double x = work[k * size + p], y = work[k * size + q];
                    work[k * size + p] = c * x - s * y;
                    work[k * size + q] = s * x + c * y;
                }
                work[q * size + p] = work[p * size + q] = 0.0;
                for (int64_t k = 0; k < size; k++) {
                    const double x = a[p * step + k], y = a[q * step + k];
                    a[p * step + k] = c * x - s * y;
                    a[q * step + k] = s * x + c * y;
                }
            }
    }
    for (int64_t j = 0; j < size; j++)
        w[j] = work[j * size + j];
    for (int64_t j = 0; j < size; j++) {
        int64_t best = j;
        for (int64_t k = j + 1; k < size; k++)
            if (w[k] < w[best])
                best = k;
        const double least = w[best];
        w[best] = w[j];
        w[j] = least;
        for (int64_t k = 0; best != j && k < size; k++) {
            const double x = a[j * step + k];
            a[j * step + k] = a[best * step + k];
            a[best * step + k] = x;
        }
    }
}
