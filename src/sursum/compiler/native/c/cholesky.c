/* The lower factors of n by n matrices, row by row; code 0, or the order of the first minor that is not positive. */
static void su_cholesky(int64_t count, int64_t n, const double *a, double *l, int64_t *code)
{
    for (int64_t b = 0; b < count; b++, a += n * n, l += n * n) {
        code[b] = 0;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j <= i; j++) {
                double s = a[i * n + j];
                for (int64_t k = 0; k < j; k++)
                    s -= l[i * n + k] * l[j * n + k];
                if (i != j)
                    l[i * n + j] = s / l[j * n + j];
                else {
                    if (!(s > 0.0) && !code[b])
                        code[b] = i + 1;
                    l[i * n + i] = sqrt(s);
                }
            }
            for (int64_t j = i + 1; j < n; j++)
                l[i * n + j] = 0.0;
        }
    }
}
