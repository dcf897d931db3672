/* y[place] is reduced with x: sums, products, largest or smallest (mode 0 to 3); what y holds counts if `keep`. A NaN stays. */
static void su_scatter_reduce(int mode, int keep, int64_t n, const int64_t *place, const double *x, double *y)
{
    static const double nothing[] = {0.0, 1.0, -INFINITY, INFINITY};
    for (int64_t i = 0; !keep && i < n; i++)
        y[place[i]] = nothing[mode];
    for (int64_t i = 0; i < n; i++) {
        double *const out = y + place[i];
        const double t = x[i];
        if (mode == 0)
            *out += t;
        else if (mode == 1)
            *out *= t;
        else if (t != t || (mode == 2 ? *out < t : t < *out))
            *out = t;
    }
}
