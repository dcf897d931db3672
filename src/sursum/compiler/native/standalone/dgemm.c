/* C = alpha op(A) op(B) + beta C, column-major: BLAS's dgemm where there is no BLAS. */
static void su_dgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k, const double *alpha,
                     const double *a, const int *lda, const double *b, const int *ldb, const double *beta, double *c,
                     const int *ldc)
{
    const bool turned = *ta == 'T';
    for (int64_t j = 0; j < *n; j++) {
        double *const column = c + j * *ldc;
        for (int64_t i = 0; i < *m; i++)
            column[i] = *beta == 0.0 ? 0.0 : *beta * column[i];
        for (int64_t l = 0; l < *k; l++) {
            const double f = *alpha * (*tb == 'T' ? b[j + l * *ldb] : b[l + j * *ldb]);
            for (int64_t i = 0; i < *m; i++)
                column[i] += f * (turned ? a[l + i * *lda] : a[i + l * *lda]);
        }
    }
}
