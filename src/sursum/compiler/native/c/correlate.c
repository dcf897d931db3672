/* needs: gemm, unfold */
/* out[n, g, o, s] = sum over c and k of w[g, o, c, k] x[n, g, c, s * step + k * gap] */
static void su_correlate(void *dgemm, void *threads, int64_t samples, int64_t groups, int mine, int theirs,
                       int64_t places0, int64_t places1, int64_t places2, int64_t kernel0, int64_t kernel1, int64_t kernel2,
                       int64_t x0, int64_t x1, int64_t x2, int64_t step0, int64_t step1, int64_t step2, int64_t gap0,
                       int64_t gap1, int64_t gap2,
                       const double *x, const double *w, double *columns, double *out)
{
    const int width = theirs * kernel0 * kernel1 * kernel2, places = places0 * places1 * places2;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++, x += theirs * x0 * x1 * x2, out += (int64_t)mine * places) {
            su_unfold(theirs, places0, places1, places2, kernel0, kernel1, kernel2, x0, x1, x2, step0,
                      step1, step2, gap0, gap1, gap2, x, columns);
            su_gemm(dgemm, threads, 'N', 'N', places, mine, width, 1.0, columns, places, w + g * mine * width, width, 0.0, out,
                    places);
        }
}
