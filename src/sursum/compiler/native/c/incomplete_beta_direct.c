/* needs: incomplete_beta_factor, incomplete_beta_fraction, incomplete_beta_series */
/* I_x(a, b) less its factor, for x up to about a / (a + b); the logarithm of the factor; the derivatives of log I by a and b.
   Nothing of it where `logs` is not asked for and I is 0. */
static double su_incomplete_beta_direct(int logs, double a, double b, double x, double y, double *factor, double *by_a, double *by_b)
{
    double in_a, in_b;
    *factor = su_incomplete_beta_factor(a, b, x, y, by_a, by_b);
    if (!logs && exp(*factor) == 0.0)
        return 0.0;
    const double sum = x <= 0.6 && (a + b) * x <= 0.6 * (a + 1.0) ? su_incomplete_beta_series(a, b, x, &in_a, &in_b)
                                                                  : su_incomplete_beta_fraction(a, b, x, y, &in_a, &in_b);
    *by_a += in_a;
    *by_b += in_b;
    return sum;
}
