/* needs: digamma_positive */
/* log x - digamma(a + 1) */
static double su_incomplete_gamma_drift(double a, double x)
{
    if (a < 10.0)
        return log(x) - su_digamma_positive(a + 1.0);
    const double d = (x - a) / a, z = 1.0 / (a * a);
    return (fabs(d) > 0.5 ? log(x / a) : log1p(d)) - 0.5 / a + z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240
         - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
}
