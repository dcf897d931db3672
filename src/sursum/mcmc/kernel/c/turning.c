/* Whether a trajectory turns back when b is put after a: the generalised criterion, with sum r and end momenta p, for the whole,
   and for each half with the first momentum of the other. The sum of the whole is written to `sum`, which may be a's. */
static int turns(size_t n, const double *a, const double *b, const double *first_a, const double *last_a,
                 const double *first_b, const double *last_b, double *sum)
{
    double d0 = 0.0, d1 = 0.0, d2 = 0.0, d3 = 0.0, d4 = 0.0, d5 = 0.0;
    if (a == first_a && a == last_a && b == first_b && b == last_b) { /* two points: the three checks are one */
        #pragma omp simd reduction(+ : d0, d1)
        for (size_t i = 0; i < n; i++) {
            const double whole = a[i] + b[i];
            d0 += whole * a[i];
            d1 += whole * b[i];
            sum[i] = whole;
        }
        return !(d0 > 0.0 && d1 > 0.0);
    }
    #pragma omp simd reduction(+ : d0, d1, d2, d3, d4, d5)
    for (size_t i = 0; i < n; i++) {
        const double whole = a[i] + b[i], left = a[i] + first_b[i], right = b[i] + last_a[i];
        d0 += whole * first_a[i];
        d1 += whole * last_b[i];
        d2 += left * first_a[i];
        d3 += left * first_b[i];
        d4 += right * last_a[i];
        d5 += right * last_b[i];
        sum[i] = whole;
    }
    return !(d0 > 0.0 && d1 > 0.0 && d2 > 0.0 && d3 > 0.0 && d4 > 0.0 && d5 > 0.0);
}
