/* needs: lgamma, log1pmx, stirling */
/* log(x^a e^-x / Gamma(a + 1)) */
static double su_incomplete_gamma_factor(double a, double x)
{
    if (a < 10.0)
        return a * log(x) - x - su_lgamma(a + 1.0);
    return a * su_log1pmx((x - a) / a, x / a) - su_stirling(a) - 0.5 * log(6.28318530717958647692 * a);
}
