/* needs: factor_leaf */
/* The same for a batch. */
static void su_factor_gradient(int64_t count, int64_t n, const double *l, double *s)
{
    for (int64_t b = 0; b < count; b++)
        su_factor_leaf(n, l + b * n * n, s + b * n * n, n);
}
