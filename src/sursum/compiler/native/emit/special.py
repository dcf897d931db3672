"""C of special functions of one or two variables.

References: Abramowitz and Stegun 9.6.10 and 9.7.1 (Bessel functions by power series and at infinity), 7.1.23 (erfc at
infinity), 26.2.23 (a start for the normal quantile), 23.1.3 with Euler–Maclaurin (Hurwitz's zeta).
"""

SPECIAL = {
    "bessel": """
/* I0 or I1 (order 0 or 1), or exp(-|x|) times that if `scaled`. */
static double su_bessel(double order, double scaled, double x)
{
    const double a = fabs(x), h = 0.25 * a * a;
    double value;
    if (!(a > 30.0)) {
        double term = order > 0.0 ? 0.5 * a : 1.0;
        value = term;
        for (int k = 1; k < 200 && term > 1e-18 * value; k++) {
            term *= h / (k * (k + order));
            value += term;
        }
        if (a != a)
            return a;
        value *= scaled > 0.0 ? exp(-a) : 1.0;
    } else {
        const double m = 4.0 * order * order;
        double term = 1.0;
        value = 1.0;
        for (int k = 1; k < 40 && fabs(term) > 1e-18; k++) {
            const double odd = 2.0 * k - 1.0;
            term *= (odd * odd - m) / (8.0 * k * a);
            value += term;
        }
        const double half = scaled > 0.0 ? 1.0 : exp(0.5 * a);
        value = half * (value / sqrt(6.28318530717958647692 * a)) * half;
    }
    return order > 0.0 && x < 0.0 ? -value : value;
}
""",
    "erfcx": """
/* exp(x * x) * erfc(x) */
static double su_erfcx(double x)
{
    if (x < 25.0)
        return x < -26.7 ? INFINITY : exp(x * x) * erfc(x);
    const double z = 0.5 / (x * x);
    return 0.56418958354775628695 / x * (1.0 - z * (1.0 - 3.0 * z * (1.0 - 5.0 * z * (1.0 - 7.0 * z * (1.0 - 9.0 * z)))));
}
""",
    "ndtri": """
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
""",
    "zeta": """
/* Hurwitz's zeta: sum of (k + q)^-x, ten terms and then Euler-Maclaurin. */
static double su_zeta(double x, double q)
{
    static const double bernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6,
                                       -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};
    if (x == 1.0)
        return INFINITY;
    if (!(x > 1.0) || q != q)
        return NAN;
    if (q <= 0.0) {
        if (q == floor(q))
            return INFINITY;
        if (x != floor(x))
            return NAN;
    }
    double sum = 0.0;
    int k = 0;
    while (k < 10 || q + k < 10.0) {
        const double term = pow(q + k, -x);
        sum += term;
        if (isinf(term))
            return sum;
        k++;
    }
    const double w = q + k, at = pow(w, -x);
    sum += at * w / (x - 1.0) + 0.5 * at;
    if (at == 0.0 && isfinite(w))
        return sum;
    double factor = x * at / w, size = 2.0;
    for (int j = 0; j < 10; j++) {
        sum += bernoulli[j] * factor / size;
        const double s = x + 2.0 * j;
        factor *= (s + 1.0) * (s + 2.0) / (w * w);
        size *= (2.0 * j + 3.0) * (2.0 * j + 4.0);
    }
    return sum;
}
""",
}
