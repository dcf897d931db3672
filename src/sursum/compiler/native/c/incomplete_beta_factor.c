/* needs: digamma_difference, gamma_ratio, lgamma, log1pmx, stirling */
/* log(x^a y^b / (a B(a, b))), and its derivatives by a and b; y is 1 - x */
static double su_incomplete_beta_factor(double a, double b, double x, double y, double *by_a, double *by_b)
{
    const double away = a * y - b * x, d = -away / a, e = away / b, p = x * ((a + b) / a), q = y * ((a + b) / b);
    const double log_x = x < 0.5 ? log(x) : log1p(-y), log_y = y < 0.5 ? log(y) : log1p(-x);
    if (a < 10.0) /* the first term of digamma(a + b) - digamma(a) and 1 / a, together */
        *by_a = log_x - 1.0 / (a + b) + su_digamma_difference(b, a + 1.0, 0);
    else
        *by_a = (fabs(d) > 0.5 ? log(p) : log1p(d)) + su_digamma_difference(b, a, 1) - 1.0 / a;
    if (b < 10.0)
        *by_b = log_y + su_digamma_difference(a, b, 0);
    else
        *by_b = (fabs(e) > 0.5 ? log(q) : log1p(e)) + su_digamma_difference(a, b, 1);
    if (a >= 10.0 && b >= 10.0)
        return a * su_log1pmx(d, p) + b * su_log1pmx(e, q) - (su_stirling(a) + su_stirling(b) - su_stirling(a + b))
             - 0.5 * (log(a) + log1p(a / b)) - 0.91893853320467274178;
    const double least = fmin(a, b), most = fmax(a, b);
    return a * log_x + b * log_y - log(a) - (su_lgamma(least) - su_gamma_ratio(least, most));
}
