/* log(Gamma(a + b) / Gamma(a)), as accurate relative to b where b is small */
static double su_gamma_ratio(double b, double a)
{
    double found = 0.0;
    for (; a < 10.0; a += 1.0)
        found -= log1p(b / a);
    /* The difference of what Stirling's formula leaves, its first two terms by their differences. */
    const double z = a + b, p = 1.0 / a, q = 1.0 / z, v = p * p, w = q * q;
    const double at = p * v * v * (1.0 / 1260 - v * (1.0 / 1680 - v * (1.0 / 1188 - v * (691.0 / 360360 - v / 156))));
    const double on = q * w * w * (1.0 / 1260 - w * (1.0 / 1680 - w * (1.0 / 1188 - w * (691.0 / 360360 - w / 156))));
    return found + (a - 0.5) * log1p(b / a) + b * (log(z) - 1.0) - b * q * p * (1.0 / 12 - (v + p * q + w) / 360) + (on - at);
}
