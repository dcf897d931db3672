/* What keeps 1 / x finite for a subnormal x: a / x is (a * scale) * (1 / (x * scale)). */
static inline double su_scale(double x)
{
    return fabs(x) < 0x1p-1000 ? 0x1p64 : 1.0;
}
