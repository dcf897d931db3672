/* log(1 + d) - d for d = x / a - 1 */
static double su_log1pmx(double d, double ratio)
{
    if (fabs(d) > 0.5)
        return log(ratio) - d;
    const double r = d / (2.0 + d), square = r * r;
    double sum = 0.0, power = 1.0;
    for (int k = 3; power > 1e-18; k += 2, power *= square)
        sum += power / k;
    return 2.0 * r * square * sum - r * d;
}
