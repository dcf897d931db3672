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
