/* The continued fraction of Didonato and Morris (TOMS 708), times a, by Lentz's method with its derivatives; those of its logarithm */
static double su_incomplete_beta_fraction(double a, double b, double x, double y, double *by_a, double *by_b)
{
    const double away = a * y - b * x;
    double s = a + 1.0, h = a / s, k = away + 1.0, at = h * k, at_a = k / (s * s) + h * y, at_b = -h * x;
    double c = at, c_a = at_a, c_b = at_b, f = 0.0, f_a = 0.0, f_b = 0.0, value = at, log_a = at_a / at, log_b = at_b / at;
    for (int n = 1; n < 100000; n++) {
        const double p = a + n - 1.0, u = p * (p + b) / (s * s), w = n * (b - n) * x * x;
        const double part = u * w, part_a = ((2.0 * p + b) / (s * s) - 2.0 * u / s) * w, part_b = p / (s * s) * w + u * n * x * x;
        const double old = s;
        s += 2.0;
        h = (a + n) / s;
        k = away + 1.0 + n * (1.0 + y);
        at = n + n * (b - n) * x / old + h * k;
        at_a = -n * (b - n) * x / (old * old) + (n + 1.0) / (s * s) * k + h * y;
        at_b = n * x / old - h * x;
        const double below = at + part * f, below_a = at_a + part_a * f + part * f_a, below_b = at_b + part_b * f + part * f_b;
        f = 1.0 / below;
        f_a = -below_a * f * f;
        f_b = -below_b * f * f;
        const double share = part / c;
        c_a = at_a + part_a / c - share * c_a / c;
        c_b = at_b + part_b / c - share * c_b / c;
        c = at + share;
        const double by = c * f, slope_a = c_a / c, slope_b = c_b / c, more_a = slope_a - below_a * f, more_b = slope_b - below_b * f;
        value *= by;
        log_a += more_a;
        log_b += more_b;
        if (log_b != log_b || (fabs(by - 1.0) < 5e-16 && fabs(more_a) <= 1e-16 * fabs(log_a) + 3e-16 * fabs(slope_a)
                               && fabs(more_b) <= 1e-16 * fabs(log_b) + 3e-16 * fabs(slope_b)))
            break;
    }
    *by_a = 1.0 / a - log_a;
    *by_b = -log_b;
    return a / value;
}
