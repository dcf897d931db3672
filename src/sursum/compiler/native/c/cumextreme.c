/* The largest (sign 1) or smallest (-1) so far, and where it last stood; NaN stays. */
static void su_cumextreme(int64_t outer, int64_t n, int64_t inner, int sign, const double *x, double *y, int64_t *place)
{
    for (int64_t o = 0; o < outer * inner; o++) {
        const int64_t start = o / inner * n * inner + o % inner;
        double best = x[start];
        int64_t at = 0;
        for (int64_t k = 0; k < n; k++) {
            const double next = x[start + k * inner];
            if (next != next || (best == best && (sign > 0 ? next >= best : next <= best))) {
                best = next;
                at = k;
            }
            y[start + k * inner] = best;
            place[start + k * inner] = at;
        }
    }
}
