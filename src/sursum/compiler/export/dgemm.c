/* C = alpha op(A) op(B) + beta C, column-major: BLAS's dgemm where there is no BLAS. */
static void su_dgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k, const double *alpha,
                     const double *a, const int *lda, const double *b, const int *ldb, const double *beta, double *c,
                     const int *ldc)
{
    const bool turned = *ta == 'T';
    const int64_t step = *tb == 'T' ? *ldb : 1; /* from one element of a column of op(B) to the next */
    for (int64_t j = 0; j < *n; j++) {
        double *const column = c + j * *ldc;
        const double *const other = b + (*tb == 'T' ? j : j * *ldb);
        for (int64_t i = 0; i < *m; i++)
            column[i] = *beta == 0.0 ? 0.0 : *beta * column[i];
        if (turned)
            for (int64_t i = 0; i < *m; i++) {
                const double *const row = a + i * *lda;
                double total = 0.0;
#pragma omp simd reduction(+ : total)
                for (int64_t l = 0; l < *k; l++)
                    total += row[l] * other[l * step];
                column[i] += *alpha * total;
            }
        else
            for (int64_t l = 0; l < *k; l++) {
                const double f = *alpha * other[l * step];
#pragma omp simd
                for (int64_t i = 0; i < *m; i++)
                    column[i] += f * a[i + l * *lda];
            }
    }
}
