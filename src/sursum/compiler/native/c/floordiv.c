static double su_floordiv(double a, double b)
{
    if (b == 0.0)
        return a / b;
    const double rest = fmod(a, b);
    double ratio = (a - rest) / b;
    if (rest != 0.0 && (b < 0.0) != (rest < 0.0))
        ratio -= 1.0;
    if (ratio == 0.0)
        return copysign(0.0, a / b);
    const double whole = floor(ratio);
    return ratio - whole > 0.5 ? whole + 1.0 : whole;
}
