/* needs: finite */
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
