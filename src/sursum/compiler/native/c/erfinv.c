static double su_erfinv(double y)
{
    if (!(fabs(y) <= 1.0))
        return NAN;
    if (fabs(y) == 1.0)
        return copysign(INFINITY, y);
    /* Winitzki's start, then Halley's method on erf (on erfc in the tails, where erf cancels). */
    const double a = fabs(y), l = log1p(-a * a), b = 4.33074675034 + 0.5 * l;
    double x = a < 0.1 ? 0.88622692545275801365 * a : sqrt(sqrt(b * b - l / 0.147) - b);
    for (int k = 0; k < 4; k++) {
        const double error = a < 0.5 ? erf(x) - a : (1.0 - a) - erfc(x);
        const double step = error / (1.12837916709551257390 * exp(-x * x));
        x -= step / (1.0 + x * step);
    }
    return copysign(a == 0.0 ? 0.0 : x, y);
}
