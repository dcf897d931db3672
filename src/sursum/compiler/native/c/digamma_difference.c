/* digamma(a + b) - digamma(a), as accurate relative to b where b is small; less log((a + b) / a) where `tail`, for a from 10 on */
static double su_digamma_difference(double b, double a, int tail)
{
    double found = 0.0;
    for (; a < 10.0; a += 1.0)
        found += b / (a * (a + b));
    const double p = 1.0 / a, q = 1.0 / (a + b), v = p * p, w = q * q;
    const double at = v * v * (1.0 / 120 - v * (1.0 / 252 - v * (1.0 / 240 - v * (1.0 / 132 - v * (691.0 / 32760 - v / 12)))));
    const double on = w * w * (1.0 / 120 - w * (1.0 / 252 - w * (1.0 / 240 - w * (1.0 / 132 - w * (691.0 / 32760 - w / 12)))));
    return found + (tail ? 0.0 : log1p(b / a)) + b * q * p * (0.5 + (p + q) / 12.0) + (on - at);
}
