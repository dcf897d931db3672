typedef double su_four __attribute__((vector_size(32), aligned(8), may_alias));

/* Four rows and four times `parts` columns of a product: sums that stay in registers. */
static inline __attribute__((always_inline)) void su_product_block(int64_t n, int64_t k, const double *a, int64_t ai, int64_t ap,
                                                                   const double *b, int64_t bp, double *out, const int parts)
{
    su_four sums[4][2] = {0};
    for (int64_t p = 0; p < k; p++) {
        const su_four *const right = (const su_four *)(b + p * bp);
        for (int r = 0; r < 4; r++) {
            const double left = a[r * ai + p * ap];
            sums[r][0] += left * right[0];
            if (parts > 1)
                sums[r][1] += left * right[1];
        }
    }
    for (int r = 0; r < 4; r++) {
        su_four *const to = (su_four *)(out + r * n);
        to[0] = sums[r][0];
        if (parts > 1)
            to[1] = sums[r][1];
    }
}

/* out = a b, of m x k and k x n numbers, row-major, from m = 4 and n = 8 on. A step of a row and of a column of a and b is any.
   Where the columns of b do not lie side by side, `room` takes it with rows of n. The last blocks of rows and of columns overlap
   those before, and find the same numbers again. */
static void su_product(int64_t m, int64_t n, int64_t k, const double *a, int64_t ai, int64_t ap, const double *b, int64_t bp,
                       int64_t bj, double *restrict out, double *restrict room)
{
    if (bj != 1) {
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < n; j++)
                room[p * n + j] = b[p * bp + j * bj];
        b = room;
        bp = n;
    }
    for (int64_t i = 0; i < m; i += 4) {
        const int64_t row = i + 4 <= m ? i : m - 4;
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            su_product_block(n, k, a + row * ai, ai, ap, b + j, bp, out + row * n + j, 2);
        if (n - j > 4)
            su_product_block(n, k, a + row * ai, ai, ap, b + n - 8, bp, out + row * n + n - 8, 2);
        else if (n > j)
            su_product_block(n, k, a + row * ai, ai, ap, b + n - 4, bp, out + row * n + n - 4, 1);
    }
}
