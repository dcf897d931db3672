/* needs: incomplete_beta_direct, incomplete_beta_factor, incomplete_beta_rest */
/* The regularised incomplete beta function I_x(a, b), or its derivative by a, b or x (mode 0 to 3); or its logarithm, or the
   derivatives of that (mode 4 to 7). y is 1 - x. As in sursum.common.incomplete_beta. */
static double su_incomplete_beta(double mode, double a, double b, double x, double y)
{
    const int which = (int)mode & 3, logs = mode > 3.0;
    if (!(a >= 0.0 && b >= 0.0 && x >= 0.0 && y >= 0.0) || (a == 0.0 && b == 0.0) || (isinf(a) && isinf(b)))
        return NAN;
    if (x == 0.0 || y == 0.0 || a == 0.0 || b == 0.0 || isinf(a) || isinf(b)) {
        const int none = y > 0.0 && (x == 0.0 || b == 0.0 || isinf(a)); /* I is 0, else 1 */
        if (which == 0)
            return logs ? (none ? -INFINITY : 0.0) : !none;
        if (which == 3 && (x == 0.0 || y == 0.0) && a > 0.0 && b > 0.0) {
            const double power = x == 0.0 ? a : b, other = x == 0.0 ? b : a;
            return logs && x == 0.0 ? INFINITY : power < 1.0 ? INFINITY : power == 1.0 ? other : 0.0;
        }
        return logs && none ? (which == 1 ? -INFINITY : INFINITY) : 0.0;
    }
    double value = -1.0, rest = -1.0, by_a, by_b, factor; /* I, or 1 - I, as they are known without a difference */
    if (b < 1.0 && a * y <= 1.0 && y <= 0.7) {
        value = su_incomplete_beta_rest(b, a, y, &by_b, &by_a);
        if (value > 0.5)
            value = -1.0;
    }
    if (value < 0.0) {
        if (a < 1.0 && b * x <= 1.0 && x <= 0.7)
            rest = su_incomplete_beta_rest(a, b, x, &by_a, &by_b);
        if (a * y >= b * x && (rest < 0.0 || rest > 0.5)) {
            const double sum = su_incomplete_beta_direct(logs, a, b, x, y, &factor, &by_a, &by_b);
            if (which == 3)
                return logs ? a / (x * y * sum) : a * exp(factor) / (x * y);
            const double whole = logs ? 1.0 : exp(factor) * sum;
            return which == 1 ? whole * by_a : which == 2 ? whole * by_b : logs ? factor + log(sum) : whole;
        }
        if (rest < 0.0) {
            const double sum = su_incomplete_beta_direct(0, b, a, y, x, &factor, &by_b, &by_a);
            rest = exp(factor) * sum;
            by_a *= rest;
            by_b *= rest;
        }
        value = 1.0 - rest;
        by_a = -by_a;
        by_b = -by_b;
    }
    if (which == 0)
        return !logs ? value : rest < 0.0 ? log(value) : log1p(-rest);
    if (which == 3) {
        double in_a, in_b;
        return a * exp(su_incomplete_beta_factor(a, b, x, y, &in_a, &in_b)) / (x * y) / (logs ? value : 1.0);
    }
    return (which == 1 ? by_a : by_b) / (logs ? value : 1.0);
}
