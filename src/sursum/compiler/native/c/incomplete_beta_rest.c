/* needs: digamma_difference, digamma_positive, gamma_ratio, log_gamma1p */
/* 1 - I_x(a, b) for a < 1 and small b * x, where nothing is taken from 1, and its derivatives by a and b: DLMF 8.17.7 */
static double su_incomplete_beta_rest(double a, double b, double x, double *by_a, double *by_b)
{
    double term = 1.0, in_b = 0.0, sum = 0.0, sum_a = 0.0, sum_b = 0.0;
    for (int n = 1; n < 10000; n++) {
        const double ratio = (n - b) * x / n;
        in_b = in_b * ratio - term * (x / n);
        term *= ratio;
        sum += term / (a + n);
        sum_a -= term / ((a + n) * (a + n));
        sum_b += in_b / (a + n);
        if (fabs(term) < 1e-18 && fabs(in_b) < 1e-18)
            break;
    }
    const double u = a * log(x) - su_log_gamma1p(a) + su_gamma_ratio(a, b), whole = exp(u);
    const double u_a = log(x) - su_digamma_positive(1.0 + a) + su_digamma_positive(a + b), u_b = su_digamma_difference(a, b, 0);
    *by_a = -whole * (u_a * (1.0 + a * sum) + sum + a * sum_a);
    *by_b = -whole * (u_b * (1.0 + a * sum) + a * sum_b);
    return -expm1(u) - whole * a * sum;
}
