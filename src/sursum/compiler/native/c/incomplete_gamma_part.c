/* P(a, x) less its factor x^a e^-x / Gamma(a + 1) and its derivative by a, for x < a + 1; above, 1 - P less the factor and a,
   and the derivative of its logarithm by a */
static double su_incomplete_gamma_part(double a, double x, double *by_a)
{
    if (x < a + 1.0) { /* the power series */
        double sum = 1.0, term = 1.0, slope = 0.0, change = 0.0;
        for (int k = 1; k < 100000; k++) {
            const double ratio = x / (a + k);
            term *= ratio;
            change = change * ratio - term / (a + k);
            sum += term;
            slope += change;
            if (term < 1e-17 * sum && fabs(change) <= 1e-17 * fabs(slope))
                break;
        }
        *by_a = slope;
        return sum;
    }
    /* The continued fraction by Lentz's method; the derivative of its logarithm is added up. */
    double b = x + 1.0 - a, c = INFINITY, dc = 0.0, f = 1.0 / b, df = f * f, value = f, slope = f;
    for (int k = 1; k < 100000; k++) {
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
        if (slope != slope || (fabs(by - 1.0) < 2e-16 && fabs(change) <= 1e-16 * fabs(slope)))
            break;
    }
    *by_a = slope;
    return value;
}
