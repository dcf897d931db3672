/* Logarithms of sums of exponentials along the middle of three dimensions. */
static void su_logcumsumexp(int64_t outer, int64_t n, int64_t inner, const double *x, double *y)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double total = -INFINITY;
            for (int64_t k = 0; k < n; k++) {
                const double next = x[(o * n + k) * inner + i];
                const double low = next < total ? next : total, high = next < total ? total : next;
                if (next != next || total != total)
                    total = NAN;
                else if (low != high || !isinf(low))
                    total = high + log1p(exp(low - high));
                y[(o * n + k) * inner + i] = total;
            }
        }
}
