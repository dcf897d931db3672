/* out = a b, of m x k and k x n numbers, row-major; n >= 8 and m >= 4. A step of a row and of a column of a and b is any. Where
   the columns of b do not lie side by side, `room` takes it with rows of n. Blocks of 4 x 8 sums stay in registers; the last
   blocks of a row and of a column overlap others, and find the same numbers again. */
typedef double su_four __attribute__((vector_size(32), aligned(8), may_alias));

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
        const double *const first = a + (i + 4 <= m ? i : m - 4) * ai;
        double *const row = out + (i + 4 <= m ? i : m - 4) * n;
        for (int64_t j = 0; j < n; j += 8) {
            const int64_t column = j + 8 <= n ? j : n - 8;
            su_four sums[4][2] = {0};
            for (int64_t p = 0; p < k; p++) {
                const su_four *const right = (const su_four *)(b + p * bp + column);
                for (int r = 0; r < 4; r++) {
                    const double left = first[r * ai + p * ap];
                    sums[r][0] += left * right[0];
                    sums[r][1] += left * right[1];
                }
            }
            for (int r = 0; r < 4; r++) {
                su_four *const to = (su_four *)(row + r * n + column);
                to[0] = sums[r][0];
                to[1] = sums[r][1];
            }
        }
    }
}
