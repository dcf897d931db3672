/* The power series 2F1(a + b, 1; a + 1; x), and the derivatives of its logarithm by a and b: DLMF 8.17.8 */
static double su_incomplete_beta_series(double a, double b, double x, double *by_a, double *by_b)
{
    double sum = 1.0, term = 1.0, in_a = 0.0, in_b = 0.0, sum_a = 0.0, sum_b = 0.0;
    for (int n = 0; n < 100000; n++) {
        const double below = a + 1.0 + n, ratio = (a + b + n) * x / below;
        in_a = in_a * ratio + term * x * (1.0 - b) / (below * below);
        in_b = in_b * ratio + term * x / below;
        term *= ratio;
        sum += term;
        sum_a += in_a;
        sum_b += in_b;
        if (sum_b != sum_b || (term < 1e-17 * sum && fabs(in_a) <= 1e-17 * fabs(sum_a) && in_b <= 1e-17 * sum_b))
            break;
    }
    *by_a = sum_a / sum;
    *by_b = sum_b / sum;
    return sum;
}
