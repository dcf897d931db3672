/* A function of somebody else's, at an address that data hold: its value at x, then its gradient, n elements. */
static void su_external(int64_t n, const double *x, const double *pointer, double *out)
{
    int64_t (*const f)(size_t, const double *, double *, double *, void *) =
        (int64_t (*)(size_t, const double *, double *, double *, void *))(uintptr_t)pointer[0];
    if (f((size_t)n, x, out + 1, out, (void *)(uintptr_t)pointer[1])) {
        out[0] = -INFINITY;
        for (int64_t i = 1; i <= n; i++)
            out[i] = 0.0;
    }
}
