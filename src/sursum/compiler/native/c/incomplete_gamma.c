/* needs: incomplete_gamma_drift, incomplete_gamma_factor, incomplete_gamma_part, log1pmx, log_gamma1p */
/* The regularised incomplete gamma function P(a, x), or 1 - P, or the derivative of P by a, or that by x (mode 0 to 3).
   As in sursum.common.special.incomplete_gamma: Moore, AS 187 (1982); Temme's expansion, DLMF 8.12. */
static double su_incomplete_gamma(double mode, double a, double x)
{
    const int which = (int)mode;
    if (!(a >= 0.0 && x >= 0.0) || (a == 0.0 && x == 0.0) || (isinf(a) && isinf(x)))
        return NAN;
    if (x == 0.0 && which == 3)
        return a < 1.0 ? INFINITY : a == 1.0;
    if (x == 0.0 || isinf(x) || isinf(a) || (a == 0.0 && which != 2))
        return which > 1 ? 0.0 : (isinf(a) || x == 0.0) == (which == 1);
    const double d = (x - a) / a, logs = fabs(d) > 0.5 ? log(x / a) : log1p(d);
    const double factor = exp(su_incomplete_gamma_factor(a, x));
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
    const double drift = which == 2 ? su_incomplete_gamma_drift(a, x) : 0.0;
    if (x < a + 1.0 && which == 1 && a < 1.0) { /* what is left of 1 is small */
        double sum = 0.0, term = 1.0;
        for (int n = 1; fabs(term) > 1e-18; n++) {
            term *= -x / n;
            sum += term / (a + n);
        }
        const double u = a * log(x) - su_log_gamma1p(a);
        return -expm1(u) - exp(u) * a * sum;
    }
    double slope;
    const double part = su_incomplete_gamma_part(a, x, &slope);
    if (x < a + 1.0) {
        const double lower = factor * part;
        return which == 2 ? factor * (part * drift + slope) : which ? 1.0 - lower : lower;
    }
    const double upper = factor * a * part;
    return which == 2 ? -factor * part * (1.0 + a * (drift + slope)) : which ? upper : 1.0 - upper;
}
