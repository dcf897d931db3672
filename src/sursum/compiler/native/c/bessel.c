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
