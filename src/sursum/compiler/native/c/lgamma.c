extern double lgamma_r(double, int *);

static double su_lgamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}
