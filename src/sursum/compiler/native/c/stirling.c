/* log Gamma(z) less Stirling's formula, for z from 10 on */
static double su_stirling(double z)
{
    const double w = 1.0 / (z * z);
    return (1.0 / 12 - w * (1.0 / 360 - w * (1.0 / 1260 - w * (1.0 / 1680 - w * (1.0 / 1188 - w * (691.0 / 360360 - w / 156)))))) / z;
}
