/* Fills column `k` of Q (n rows, its entries `row` apart, columns `column`) with a unit vector orthogonal to those before. */
static void su_complete(int64_t n, int64_t k, double *q, int64_t row, int64_t column)
{
    for (int64_t start = 0; start < n; start++) {
        for (int64_t i = 0; i < n; i++)
            q[i * row + k * column] = i == start;
        double norm = 0.0;
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t j = 0; j < k; j++) {
                double along = 0.0;
                for (int64_t i = 0; i < n; i++)
                    along += q[i * row + j * column] * q[i * row + k * column];
                for (int64_t i = 0; i < n; i++)
                    q[i * row + k * column] -= along * q[i * row + j * column];
            }
            norm = 0.0;
            for (int64_t i = 0; i < n; i++)
                norm = hypot(norm, q[i * row + k * column]);
            if (!(norm * norm * n > 0.25)) /* one of the n unit vectors has at least a share of 1 / n */
                break;
            for (int64_t i = 0; i < n; i++)
                q[i * row + k * column] /= norm;
        }
        if (norm * norm * n > 0.25)
            return;
    }
}

/* Singular values, descending, and vectors, all of them for "A", column-major: LAPACK's dgesdd where there is none. By rotations
   of one side, those of Hestenes: Golub and Van Loan, "Matrix Computations", section 8.6. A wide matrix is taken turned. */
static void su_dgesdd(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
                      const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *iwork, int *info)
{
    const bool tall = *m >= *n;
    const int64_t big = tall ? *m : *n, small = tall ? *n : *m;
    const int64_t row = tall ? 1 : *lda, column = tall ? *lda : 1;
    /* The vectors of the long side, and those of the short one, as columns. */
    double *const l = tall ? u : vt, *const r = tall ? vt : u;
    const int64_t lrow = tall ? 1 : *ldvt, lcolumn = tall ? *ldu : 1, rrow = tall ? *ldvt : 1, rcolumn = tall ? 1 : *ldu;
    const double rounding = 2.3e-16 * sqrt((double)big);
    (void)work, (void)lwork, (void)iwork;
    for (int64_t i = 0; i < small; i++)
        for (int64_t j = 0; j < small; j++)
            r[i * rrow + j * rcolumn] = i == j;
    *info = 0;
    for (bool turned = true; turned && (*info)++ < 60;) {
        turned = false;
        for (int64_t p = 0; p < small; p++)
            for (int64_t q = p + 1; q < small; q++) {
                double first = 0.0, second = 0.0, both = 0.0;
                for (int64_t i = 0; i < big; i++) {
                    const double x = a[i * row + p * column], y = a[i * row + q * column];
                    first += x * x;
                    second += y * y;
                    both += x * y;
                }
                if (!(fabs(both) > rounding * sqrt(first * second)))
                    continue;
                turned = true;
                const double ratio = (second - first) / (2.0 * both);
                const double t = copysign(1.0, ratio) / (fabs(ratio) + hypot(1.0, ratio));
                const double c = 1.0 / hypot(1.0, t), d = t * c;
                for (int64_t i = 0; i < big; i++) {
                    const double x = a[i * row + p * column], y = a[i * row + q * column];
                    a[i * row + p * column] = c * x - d * y;
                    a[i * row + q * column] = d * x + c * y;
                }
                for (int64_t i = 0; i < small; i++) {
                    const double x = r[i * rrow + p * rcolumn], y = r[i * rrow + q * rcolumn];
                    r[i * rrow + p * rcolumn] = c * x - d * y;
                    r[i * rrow + q * rcolumn] = d * x + c * y;
                }
            }
    }
    *info = 0; /* columns of nothing but rounding are turned to the end */
    for (int64_t j = 0; j < small; j++) {
        s[j] = 0.0;
        for (int64_t i = 0; i < big; i++)
            s[j] = hypot(s[j], a[i * row + j * column]);
    }
    for (int64_t j = 0; j < small; j++) {
        int64_t best = j;
        for (int64_t k = j + 1; k < small; k++)
            if (s[k] > s[best])
                best = k;
        const double most = s[best];
        s[best] = s[j];
        s[j] = most;
        for (int64_t i = 0; best != j && i < big; i++) {
            const double x = a[i * row + j * column];
            a[i * row + j * column] = a[i * row + best * column];
            a[i * row + best * column] = x;
        }
        for (int64_t i = 0; best != j && i < small; i++) {
            const double x = r[i * rrow + j * rcolumn];
            r[i * rrow + j * rcolumn] = r[i * rrow + best * rcolumn];
            r[i * rrow + best * rcolumn] = x;
        }
    }
    const int64_t wanted = *jobz == 'A' ? big : small;
    for (int64_t j = 0; j < wanted; j++) {
        if (j < small && s[j] > 1e-300 && s[j] > 1e-16 * s[0])
            for (int64_t i = 0; i < big; i++)
                l[i * lrow + j * lcolumn] = a[i * row + j * column] / s[j];
        else
            su_complete(big, j, l, lrow, lcolumn);
    }
}
