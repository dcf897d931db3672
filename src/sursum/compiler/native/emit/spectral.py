"""C of eigenvalues and singular values, by LAPACK."""

SPECTRAL = {
    "su_finite": """
static int su_finite(int64_t n, const double *x)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return 0;
    return 1;
}
""",
    "su_eigh": """
/* Eigenvalues, ascending, and eigenvectors, one after another, of symmetric n by n matrices of which one triangle is read; NaN
   where there are none. `threads`, if any, sets how many LAPACK uses here. */
static void su_eigh(void *dsyevd, void *threads, int64_t count, int64_t n, int upper, const double *a, double *values,
                    double *vectors, double *work)
{
    int size = (int)n, length = (int)(1 + 6 * n + 2 * n * n), integers = (int)(3 + 5 * n), info;
    int *const iwork = (int *)(work + length);
    const int before = threads ? ((int (*)(int))threads)(1) : 0;
    for (int64_t b = 0; b < count; b++, a += n * n, vectors += n * n, values += n) {
        for (int64_t i = 0; i < n; i++) /* LAPACK's own order, as torch hands it over: the signs of the vectors hang on it */
            for (int64_t j = 0; j < n; j++)
                vectors[j * n + i] = a[i * n + j];
        info = 1;
        if (su_finite(n * n, a)) /* some LAPACKs do not come back from a NaN */
            ((void (*)(char *, char *, int *, double *, int *, double *, double *, int *, int *, int *, int *))dsyevd)(
                "V", upper ? "U" : "L", &size, vectors, &size, values, work, &length, iwork, &integers, &info);
        for (int64_t i = 0; info && i < n * n; i++)
            vectors[i] = values[i % n] = NAN;
    }
    if (threads)
        ((int (*)(int))threads)(before);
}
""",
    "su_svd": """
/* A = U S V' for m by n matrices: the columns of U, and of V', one after another; all of them if `full`. NaN where there are
   none. */
static void su_svd(void *dgesdd, void *threads, int64_t count, int64_t m, int64_t n, int full, const double *a, double *u,
                   double *s, double *v, double *copy, double *work, int64_t length)
{
    const int64_t few = m < n ? m : n;
    int rows = (int)m, columns = (int)n, least = (int)few, size = (int)length, info;
    const int64_t us = m * (full ? m : few), vs = (full ? n : few) * n;
    const int before = threads ? ((int (*)(int))threads)(1) : 0;
    for (int64_t b = 0; b < count; b++, a += m * n, u += us, s += few, v += vs) {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                copy[j * m + i] = a[i * n + j];
        info = 1;
        if (su_finite(m * n, a))
            ((void (*)(char *, int *, int *, double *, int *, double *, double *, int *, double *, int *, double *, int *,
                       int *, int *))dgesdd)(full ? "A" : "S", &rows, &columns, copy, &rows, s, u, &rows, v,
                                             full ? &columns : &least, work, &size, (int *)(work + length), &info);
        for (int64_t i = 0; info && i < us; i++)
            u[i] = NAN;
        for (int64_t i = 0; info && i < vs; i++)
            v[i] = s[i % few] = NAN;
    }
    if (threads)
        ((int (*)(int))threads)(before);
}
""",
}
