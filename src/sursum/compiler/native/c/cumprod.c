/* Products along the middle of three dimensions. */
static void su_cumprod(int64_t outer, int64_t n, int64_t inner, const double *x, double *y)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double total = 1.0;
            for (int64_t k = 0; k < n; k++) {
                total *= x[(o * n + k) * inner + i];
                y[(o * n + k) * inner + i] = total;
            }
        }
}
