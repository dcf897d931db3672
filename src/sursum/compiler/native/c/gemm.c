/* C = alpha A B + beta C in column-major order, by one thread: `threads`, if any, sets how many BLAS uses here. */
static void su_gemm(void *dgemm, void *threads, char ta, char tb, int m, int n, int k, double alpha, const double *a,
                    int lda, const double *b, int ldb, double beta, double *c, int ldc)
{
    const int before = threads ? ((int (*)(int))threads)(1) : 0;
    ((void (*)(char *, char *, int *, int *, int *, double *, const double *, int *, const double *, int *, double *,
               double *, int *))dgemm)(&ta, &tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
    if (threads)
        ((int (*)(int))threads)(before);
}
