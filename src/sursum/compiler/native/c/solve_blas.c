/* The same by BLAS, which sees every matrix transposed. */
static void su_solve_blas(void *dtrsm, int64_t count, int64_t n, int64_t m, const double *a, int64_t step, int turned,
                          int upper, int unit, double *x)
{
    int rows = (int)m, size = (int)n;
    double one = 1.0;
    /* X' A' = B' in column-major order: the memory of A, read so, is A', or A where it is turned. */
    char *triangle = (upper != turned) ? "L" : "U";
    for (int64_t b = 0; b < count; b++, a += step, x += n * m)
        ((void (*)(char *, char *, char *, char *, int *, int *, double *, const double *, int *, double *, int *))
             dtrsm)("R", triangle, turned ? "T" : "N", unit ? "U" : "N", &rows, &size, &one, a, &size, x, &rows);
}
