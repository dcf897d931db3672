/* needs: erfcx, incomplete_gamma, incomplete_gamma_drift, incomplete_gamma_factor, incomplete_gamma_part, log1pmx, stirling */
/* log P(a, x), or its derivative by a or by x (mode 0 to 2); or log(1 - P), or the derivatives of that (mode 3 to 5) */
static double su_log_incomplete_gamma(double mode, double a, double x)
{
    const int which = (int)mode % 3, upper = mode > 2.0;
    if (!(a >= 0.0 && x >= 0.0) || (a == 0.0 && x == 0.0) || (isinf(a) && isinf(x)))
        return NAN;
    if (x == 0.0 || isinf(x) || a == 0.0 || isinf(a)) {
        const int none = (x == 0.0 || isinf(a)) != upper;
        if (which == 0)
            return none ? -INFINITY : 0.0;
        if (which == 1)
            return none ? (upper ? INFINITY : -INFINITY) : 0.0;
        if (x == 0.0 && upper)
            return a < 1.0 ? -INFINITY : a == 1.0 ? -1.0 : 0.0;
        return !none ? 0.0 : upper ? -1.0 : INFINITY;
    }
    const double d = (x - a) / a;
    if (a >= 1e6 && fabs(d) < 0.02) { /* Temme's expansion */
        const double t = -a * su_log1pmx(d, x / a), eta = copysign(sqrt(2.0 * t / a), d), width = sqrt(6.28318530717958647692 * a);
        const double c = -1.0 / 3 + eta * (1.0 / 12 + eta * (-2.0 / 135 + eta * (1.0 / 864 + eta * (1.0 / 2835
                       + eta * (-139.0 / 777600 + eta / 25515)))));
        const double more = (-1.0 / 540 + eta * (-1.0 / 288 + eta * (25.0 / 12096))) / a;
        const int far = upper ? d > 0.0 : d < 0.0;
        const double tail = far ? 0.5 * su_erfcx(sqrt(t)) : 0.5 * erfc(-sqrt(t)), peak = (far ? 1.0 : exp(-t)) / width;
        const double whole = tail + (upper ? peak : -peak) * (c + more);
        if (which == 0)
            return far ? log(whole) - t : log1p(-0.5 * erfc(sqrt(t)) + (upper ? peak : -peak) * (c + more));
        double slope = exp(-su_stirling(a)) * (a / x);
        if (which == 1) {
            const double share = eta == 0.0 ? 1.0 : log1p(d) / eta, move = eta == 0.0 ? 1.0 : d / eta;
            const double turn = 1.0 / 12 + eta * (-4.0 / 135 + eta * (1.0 / 288));
            slope = -(share + (c + more) * (log1p(d) - 0.5 / a) - (turn * move + more) / a);
        }
        return (upper ? -slope : slope) * peak / whole;
    }
    if (upper == (x >= a + 1.0)) {
        if (which == 0 && a < 1.0 && !upper) {
            const double rest = su_incomplete_gamma(1.0, a, x);
            if (rest < 0.5)
                return log1p(-rest);
        }
        double slope;
        const double part = su_incomplete_gamma_part(a, x, &slope);
        if (which == 0)
            return su_incomplete_gamma_factor(a, x) + log(upper ? a * part : part);
        if (which == 1)
            return su_incomplete_gamma_drift(a, x) + (upper ? slope + 1.0 / a : slope / part);
        return upper ? -1.0 / (x * part) : a / (x * part);
    }
    const double whole = su_incomplete_gamma(upper, a, x);
    if (which == 0)
        return whole < 0.5 ? log(whole) : log1p(-su_incomplete_gamma(!upper, a, x));
    return (upper ? -1.0 : 1.0) * su_incomplete_gamma(which == 1 ? 2.0 : 3.0, a, x) / whole;
}
