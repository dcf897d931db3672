/* needs: erfcx */
/* The normal quantile: a rational start, then Newton's method on the logarithm of the distribution function. */
static double su_ndtri(double p)
{
    if (!(p >= 0.0 && p <= 1.0))
        return NAN;
    if (p == 0.0 || p == 1.0)
        return p == 0.0 ? -INFINITY : INFINITY;
    const double tail = p < 0.5 ? p : 1.0 - p, t = sqrt(-2.0 * log(tail));
    double x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for (int k = 0; k < 4; k++) {
        const double u = -0.70710678118654752440 * x, ratio = su_erfcx(u);
        x -= (log(0.5 * ratio) - u * u - log(tail)) * ratio * 1.25331413731550025121;
    }
    return p < 0.5 ? x : -x;
}
