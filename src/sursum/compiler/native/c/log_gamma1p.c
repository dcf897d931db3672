/* needs: lgamma */
/* log Gamma(1 + a) for a >= 0 */
static double su_log_gamma1p(double a)
{
    if (a >= 1e-3)
        return su_lgamma(a + 1.0);
    return a * (-0.57721566490153286061 + a * (0.82246703342411321824 - a * (0.40068563438653142847
         - a * (0.27058080842778454788 - a * 0.20738555102867398527))));
}
