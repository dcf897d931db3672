/* X op(A) = alpha B or op(A) X = alpha B for triangles A, in place of B, column-major: BLAS's dtrsm where there is none. */
static void su_dtrsm(const char *side, const char *uplo, const char *trans, const char *diag, const int *m, const int *n,
                     const double *alpha, const double *a, const int *lda, double *b, const int *ldb)
{
    const bool left = *side == 'L', turned = *trans == 'T', unit = *diag == 'U';
    const int64_t size = left ? *m : *n, others = left ? *n : *m;
    /* Entry (i, j) of op(A) for a system from the left, of its transpose for one from the right. */
    const bool swapped = turned == left;
    const int64_t row = swapped ? *lda : 1, column = swapped ? 1 : *lda;
    const bool upper = (*uplo == 'U') != swapped;
    const int64_t along = left ? 1 : *ldb, across = left ? *ldb : 1;
    for (int64_t i = 0; i < size; i++)
        for (int64_t o = 0; o < others; o++)
            b[i * along + o * across] *= *alpha;
    for (int64_t r = 0; r < size; r++) {
        const int64_t i = upper ? size - 1 - r : r;
        for (int64_t k = upper ? i + 1 : 0; k < (upper ? size : i); k++) {
            const double f = a[i * row + k * column];
            for (int64_t o = 0; o < others; o++)
                b[i * along + o * across] -= f * b[k * along + o * across];
        }
        for (int64_t o = 0; !unit && o < others; o++)
            b[i * along + o * across] /= a[i * row + i * column];
    }
}
