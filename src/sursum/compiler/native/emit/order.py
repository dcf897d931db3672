"""C that sorts and scans for extremes, along the middle of three dimensions."""

ORDER = {
    "su_sift": """
/* Whether a, which came as number i, stands before b, which came as number j. NaN is the largest. */
static inline bool su_before(int descending, double a, int64_t i, double b, int64_t j)
{
    if (a == b || (a != a && b != b))
        return i < j;
    return descending ? a > b || (a != a && b == b) : a < b || (b != b && a == a);
}

/* Lets element k of a heap of n sink to its place: the last in order is at the root. */
static void su_sift(double *v, int64_t *p, int64_t step, int64_t k, int64_t n, int descending)
{
    const double value = v[k * step];
    const int64_t number = p[k * step];
    for (int64_t child; (child = 2 * k + 1) < n; k = child) {
        int64_t at = child * step;
        if (child + 1 < n && su_before(descending, v[at], p[at], v[at + step], p[at + step])) {
            child++;
            at += step;
        }
        if (!su_before(descending, value, number, v[at], p[at]))
            break;
        v[k * step] = v[at];
        p[k * step] = p[at];
    }
    v[k * step] = value;
    p[k * step] = number;
}
""",
    "su_sort": """
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
""",
    "su_cumextreme": """
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
""",
}
