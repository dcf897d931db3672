/* The series is cut where torch cuts it. */
static double su_trigamma(double x)
{
    double sign = 1.0, shift = 0.0;
    if (x < 0.5) {
        const double s = sin(3.14159265358979323846 * x);
        sign = -1.0;
        shift -= 9.86960440108935861883 / (s * s);
        x = 1.0 - x;
    }
    for (int k = 0; k < 6; k++) {
        shift += 1.0 / (x * x);
        x += 1.0;
    }
    const double z = 1.0 / (x * x);
    shift += (1.0 + 1.0 / (2.0 * x) + z * (1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42)))) / x;
    return sign * shift;
}
