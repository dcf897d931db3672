/* needs: digamma_positive, lgamma, log1pmx */
/* The regularised incomplete gamma function P(a, x), or 1 - P, or the derivative of P by a, or that by x (mode 0 to 3).
   As in sursum.common.incomplete_gamma: Moore, AS 187 (1982); Temme's expansion, DLMF 8.12. */
static double su_incomplete_gamma(double mode, double a, double x)
{
    const int which = (int)mode;
    if (!(a >= 0.0 && x >= 0.0) || (a == 0.0 && x == 0.0) || (isinf(a) && isinf(x)))
        return NAN;
    if (x == 0.0 && which == 3)
        return a < 1.0 ? INFINITY : a == 1.0;
    if (x == 0.0 || isinf(x) || isinf(a) || (a == 0.0 && which != 2))
        return which > 1 ? 0.0 : (isinf(a) || x == 0.0) == (which == 1);
    const double d = (x - a) / a, z = 1.0 / (a * a), logs = fabs(d) > 0.5 ? log(x / a) : log1p(d);
    double factor; /* x^a e^-x / Gamma(a + 1) */
    if (a < 10.0)
        factor = exp(a * log(x) - x - su_lgamma(a + 1.0));
    else {
        const double rest = (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188
                          - z * (691.0 / 360360 - z / 156)))))) / a;
        factor = exp(a * su_log1pmx(d, x / a) - rest) / sqrt(6.28318530717958647692 * a);
    }
    if (factor == 0.0)
        return which > 1 ? 0.0 : (d > 0.0) == (which == 0);
    if (which == 3)
        return factor * (a / x);
    if (a >= 1e6) { /* Temme's expansion */
        const double t = -a * su_log1pmx(d, x / a), eta = copysign(sqrt(2.0 * t / a), d);
        const double c = -1.0 / 3 + eta * (1.0 / 12 + eta * (-2.0 / 135 + eta * (1.0 / 864 + eta * (1.0 / 2835
                       + eta * (-139.0 / 777600 + eta / 25515)))));
        const double more = (-1.0 / 540 + eta * (-1.0 / 288 + eta * (25.0 / 12096))) / a;
        const double peak = exp(-t) / sqrt(6.28318530717958647692 * a);
        if (which < 2)
            return 0.5 * erfc(which ? copysign(sqrt(t), d) : -copysign(sqrt(t), d)) + (which ? peak : -peak) * (c + more);
        const double slope = 1.0 / 12 + eta * (-4.0 / 135 + eta * (1.0 / 288));
        const double share = eta == 0.0 ? 1.0 : logs / eta, move = eta == 0.0 ? 1.0 : d / eta;
        return -peak * (share + (c + more) * (logs - 0.5 / a) - (slope * move + more) / a);
    }
    double drift = 0.0; /* log x - digamma(a + 1) */
    if (which == 2)
        drift = a < 10.0 ? log(x) - su_digamma_positive(a + 1.0)
                         : logs - 0.5 / a + z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132
                         - z * (691.0 / 32760 - z / 12))))));
    if (x < a + 1.0 && which == 1 && a < 1.0) { /* what is left of 1 is small */
        double sum = 0.0, term = 1.0;
        for (int n = 1; fabs(term) > 1e-18; n++) {
            term *= -x / n;
            sum += term / (a + n);
        }
        const double small = a * (-0.57721566490153286061 + a * (0.82246703342411321824 - a * (0.40068563438653142847
                           - a * (0.27058080842778454788 - a * 0.20738555102867398527))));
        const double u = a * log(x) - (a < 1e-3 ? small : su_lgamma(a + 1.0));
        return -expm1(u) - exp(u) * a * sum;
    }
    if (x < a + 1.0) { /* the power series, and its derivative */
        double sum = 1.0, term = 1.0, slope = 0.0, change = 0.0;
        for (int k = 1; k < 1000000; k++) {
            const double ratio = x / (a + k);
            term *= ratio;
            change = change * ratio - term / (a + k);
            sum += term;
            slope += change;
            if (term < 1e-17 * sum && fabs(change) <= 1e-17 * fabs(slope))
                break;
        }
        const double lower = factor * sum;
        return which == 2 ? factor * (sum * drift + slope) : which ? 1.0 - lower : lower;
    }
    /* The continued fraction by Lentz's method; the derivative of its logarithm is added up. */
    double b = x + 1.0 - a, c = INFINITY, dc = 0.0, f = 1.0 / b, df = f * f, value = f, slope = f;
    for (int k = 1; k < 1000000; k++) {
        const double n = k * (a - k);
        b += 2.0;
        const double below = n * f + b, share = (1.0 - k * f - n * df) / below;
        f = 1.0 / below;
        df = share * f;
        dc = k / c - n / c * (dc / c) - 1.0;
        c = b + n / c;
        const double by = c * f, change = dc / c + share;
        value *= by;
        slope += change;
        if (fabs(by - 1.0) < 2e-16 && fabs(change) <= 1e-16 * fabs(slope))
            break;
    }
    const double upper = factor * a * value;
    return which == 2 ? -factor * value * (1.0 + a * (drift + slope)) : which ? upper : 1.0 - upper;
}
