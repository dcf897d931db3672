/* needs: gamma_ratio, incomplete_beta */
/* Student's distribution function at t, or its derivative by the degrees of freedom or by t (mode 0 to 2); or its logarithm,
   or the derivatives of that (mode 3 to 5). As in sursum.common.student_cdf. */
static double su_student_cdf(double mode, double df, double t)
{
    const int which = (int)mode % 3, logs = mode > 2.0;
    if (!(df > 0.0) || t != t || isinf(df))
        return NAN;
    if (isinf(t))
        return which == 0 ? (logs ? (t > 0.0 ? 0.0 : -INFINITY) : t > 0.0) : logs && t < 0.0 && which == 1 ? -INFINITY : 0.0;
    const double r = fabs(t) / sqrt(df), most = fmin(r, 1e150), s = most * most, x = 1.0 / (1.0 + s), y = s / (1.0 + s);
    /* Further out the tail is a power of r. */
    const double beyond = r > 1e150 ? log(fabs(t)) - 0.5 * log(df) - 345.38776394910684 : 0.0;
    const double log_tail = (t == 0.0 ? 0.0 : su_incomplete_beta(4.0, 0.5 * df, 0.5, x, y) - df * beyond) - 0.69314718055994530942;
    if (which == 0)
        return t <= 0.0 ? (logs ? log_tail : exp(log_tail)) : logs ? log1p(-exp(log_tail)) : 1.0 - exp(log_tail);
    const double log_whole = !logs ? 0.0 : t <= 0.0 ? log_tail : log1p(-exp(log_tail));
    if (which == 2 && logs && t < 0.0 && s > 1.0)
        return su_incomplete_beta(7.0, 0.5 * df, 0.5, x, y) * 2.0 * x * y / -t;
    if (which == 2)
        return exp(su_gamma_ratio(0.5, 0.5 * df) - 0.57236494292470008707 - 0.5 * log(df)
                   - (0.5 * df + 0.5) * (log1p(s) + 2.0 * beyond) - log_whole);
    if (t == 0.0)
        return 0.0;
    const double slope = 0.5 * su_incomplete_beta(5.0, 0.5 * df, 0.5, x, y) + su_incomplete_beta(7.0, 0.5 * df, 0.5, x, y) * x * y / df - beyond;
    return (t < 0.0 ? slope : -slope) * exp(log_tail - log_whole);
}
