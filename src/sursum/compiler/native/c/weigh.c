/* needs: gemm, unfold */
/* out[g, a, b, k] = sum over n and s of small[n, g, a, s] x[n, g, b, s * step + k * gap] */
static void su_weigh(void *dgemm, void *threads, int64_t samples, int64_t groups, int mine, int theirs,
                       int64_t places0, int64_t places1, int64_t places2, int64_t kernel0, int64_t kernel1, int64_t kernel2,
                       int64_t x0, int64_t x1, int64_t x2, int64_t step0, int64_t step1, int64_t step2, int64_t gap0,
                       int64_t gap1, int64_t gap2,
                       const double *x, const double *small, double *columns, double *out)
{
    const int width = theirs * kernel0 * kernel1 * kernel2, places = places0 * places1 * places2;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++, x += theirs * x0 * x1 * x2, small += (int64_t)mine * places) {
            su_unfold(theirs, places0, places1, places2, kernel0, kernel1, kernel2, x0, x1, x2, step0,
                      step1, step2, gap0, gap1, gap2, x, columns);
            su_gemm(dgemm, threads, 'T', 'N', width, mine, places, 1.0, columns, places, small, places, n ? 1.0 : 0.0,
                    out + g * mine * width, width);
        }
}
