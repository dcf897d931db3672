static double su_digamma_positive(double x)
{
    double shift = 0.0;
    while (x < 10.0) {
        shift += 1.0 / x;
        x += 1.0;
    }
    const double z = 1.0 / (x * x);
    const double tail = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132
                      - z * (691.0 / 32760 - z * (1.0 / 12)))))));
    return (x < 1e17 ? log(x) - 0.5 / x - tail : log(x)) - shift;
}
