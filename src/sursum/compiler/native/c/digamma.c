/* needs: digamma_positive */
static double su_digamma(double x)
{
    if (x > 0.0)
        return su_digamma_positive(x);
    if (x == 0.0)
        return copysign(INFINITY, -x);
    if (x == trunc(x) || x != x)
        return NAN;
    const double part = x - trunc(x);
    return su_digamma_positive(1.0 - x) - 3.14159265358979323846 / tan(3.14159265358979323846 * part);
}
