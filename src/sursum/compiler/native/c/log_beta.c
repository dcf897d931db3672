/* needs: digamma_difference, gamma_ratio, lgamma */
/* log B(a, b), or its derivative by a or b (mode 0 to 2) */
static double su_log_beta(double mode, double a, double b)
{
    if (!(a >= 0.0 && b >= 0.0))
        return NAN;
    if (mode != 0.0) {
        if (mode == 2.0) {
            const double first = a;
            a = b;
            b = first;
        }
        if (a == 0.0)
            return b == 0.0 ? NAN : -INFINITY;
        return isinf(a) ? (isinf(b) ? NAN : 0.0) : isinf(b) ? -INFINITY : -su_digamma_difference(b, a, 0);
    }
    const double least = fmin(a, b), most = fmax(a, b);
    if (least == 0.0)
        return isinf(most) ? NAN : INFINITY;
    return isinf(most) ? -INFINITY : su_lgamma(least) - su_gamma_ratio(least, most);
}
