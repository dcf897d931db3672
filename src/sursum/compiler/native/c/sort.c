/* needs: sift */
/* By a heap; equals keep their order, since every element carries its number. */
static void su_sort(int64_t outer, int64_t n, int64_t inner, int descending, const double *x, double *y, int64_t *place)
{
    for (int64_t o = 0; o < outer * inner; o++) {
        const int64_t start = o / inner * n * inner + o % inner;
        double *const v = y + start;
        int64_t *const p = place + start;
        for (int64_t k = 0; k < n; k++) {
            v[k * inner] = x[start + k * inner];
            p[k * inner] = k;
        }
        for (int64_t k = n / 2; k-- > 0;)
            su_sift(v, p, inner, k, n, descending);
        for (int64_t end = n - 1; end > 0; end--) {
            const double value = v[0];
            const int64_t number = p[0];
            v[0] = v[end * inner];
            p[0] = p[end * inner];
            v[end * inner] = value;
            p[end * inner] = number;
            su_sift(v, p, inner, 0, end, descending);
        }
    }
}
