/* Hurwitz's zeta: sum of (k + q)^-x, ten terms and then Euler-Maclaurin. */
static double su_zeta(double x, double q)
{
    static const double bernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6,
                                       -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};
    if (x == 1.0)
        return INFINITY;
    if (!(x > 1.0) || q != q)
        return NAN;
    if (q <= 0.0) {
        if (q == floor(q))
            return INFINITY;
        if (x != floor(x))
            return NAN;
    }
    double sum = 0.0;
    int k = 0;
    while (k < 10 || q + k < 10.0) {
        const double term = pow(q + k, -x);
        sum += term;
        if (isinf(term))
            return sum;
        k++;
    }
    const double w = q + k, at = pow(w, -x);
    sum += at * w / (x - 1.0) + 0.5 * at;
    if (at == 0.0 && isfinite(w))
        return sum;
    double factor = x * at / w, size = 2.0;
    for (int j = 0; j < 10; j++) {
        sum += bernoulli[j] * factor / size;
        const double s = x + 2.0 * j;
        factor *= (s + 1.0) * (s + 2.0) / (w * w);
        size *= (2.0 * j + 3.0) * (2.0 * j + 4.0);
    }
    return sum;
}
