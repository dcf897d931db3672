/* exp(x * x) * erfc(x) */
static double su_erfcx(double x)
{
    if (x < 25.0)
        return x < -26.7 ? INFINITY : exp(x * x) * erfc(x);
    const double z = 0.5 / (x * x);
    return 0.56418958354775628695 / x * (1.0 - z * (1.0 - 3.0 * z * (1.0 - 5.0 * z * (1.0 - 7.0 * z * (1.0 - 9.0 * z)))));
}
