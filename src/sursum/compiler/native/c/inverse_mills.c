/* needs: erfcx */
/* The normal density over the distribution function, l; x + l; or 1 - l (x + l) (mode 0 to 2). On the left by Laplace's continued
   fraction, as in sursum.common.special.normal_cdf. */
static double su_inverse_mills(double mode, double x)
{
    const int which = (int)mode;
    if (!(x < -4.0)) {
        const double near = 0.79788456080286535588 / su_erfcx(-0.70710678118654752440 * x);
        return which == 0 ? near : which == 1 ? x + near : 1.0 - near * (fmin(x, 100.0) + near);
    }
    const double w = -1.0 / x / -x;
    const int terms = 8 + (int)(400.0 * w);
    double e = 0.5 + 0.5 * sqrt(1.0 + 4.0 * (terms + 1) * w);
    for (int k = terms; k > 4; k--)
        e = 1.0 + k * w / e;
    const double e4 = 1.0 + 4.0 * w / e, e3 = 1.0 + 3.0 * w / e4, e2 = 1.0 + 2.0 * w / e3;
    if (which < 2)
        return which ? 1.0 / (-x * e2) : -x * (1.0 + w / e2);
    const double g = 3.0 * w / e4, d = e3 * e2;
    return w * (1.0 + 4.0 * w - g * g) / (d * d);
}
