/* needs: finite */
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
