"""C functions of convolutions as products of matrices: windows are unfolded into columns, a sample at a time."""

from __future__ import annotations

#: Sizes of the places of the result, of the kernel and of x, and its steps and gaps, in three dimensions.
_SIZES = """
                       int64_t places0, int64_t places1, int64_t places2, int64_t kernel0, int64_t kernel1, int64_t kernel2,
                       int64_t x0, int64_t x1, int64_t x2, int64_t step0, int64_t step1, int64_t step2, int64_t gap0,
                       int64_t gap1, int64_t gap2"""
_PASSED = """places0, places1, places2, kernel0, kernel1, kernel2, x0, x1, x2, step0,
                      step1, step2, gap0, gap1, gap2"""

UNFOLD = {
    "su_unfold": f"""
/* columns[c, k, s] = x[c, s * step + k * gap]; every array is contiguous. */
static void su_unfold(int64_t channels,{_SIZES}, const double *x, double *columns)
{{
    for (int64_t c = 0; c < channels; c++, x += x0 * x1 * x2)
        for (int64_t i = 0; i < kernel0; i++)
            for (int64_t j = 0; j < kernel1; j++)
                for (int64_t k = 0; k < kernel2; k++)
                    for (int64_t p = 0; p < places0; p++)
                        for (int64_t q = 0; q < places1; q++, columns += places2) {{
                            const double *const row =
                                x + ((p * step0 + i * gap0) * x1 + q * step1 + j * gap1) * x2 + k * gap2;
                            if (step2 == 1)
                                for (int64_t r = 0; r < places2; r++)
                                    columns[r] = row[r];
                            else
                                for (int64_t r = 0; r < places2; r++)
                                    columns[r] = row[r * step2];
                        }}
}}
""",
    "su_correlate": f"""
/* out[n, g, o, s] = sum over c and k of w[g, o, c, k] x[n, g, c, s * step + k * gap] */
static void su_correlate(void *dgemm, void *threads, int64_t samples, int64_t groups, int mine, int theirs,{_SIZES},
                       const double *x, const double *w, double *columns, double *out)
{{
    const int width = theirs * kernel0 * kernel1 * kernel2, places = places0 * places1 * places2;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++, x += theirs * x0 * x1 * x2, out += (int64_t)mine * places) {{
            su_unfold(theirs, {_PASSED}, x, columns);
            su_gemm(dgemm, threads, 'N', 'N', places, mine, width, 1.0, columns, places, w + g * mine * width, width, 0.0, out,
                    places);
        }}
}}
""",
    "su_weigh": f"""
/* out[g, a, b, k] = sum over n and s of small[n, g, a, s] x[n, g, b, s * step + k * gap] */
static void su_weigh(void *dgemm, void *threads, int64_t samples, int64_t groups, int mine, int theirs,{_SIZES},
                       const double *x, const double *small, double *columns, double *out)
{{
    const int width = theirs * kernel0 * kernel1 * kernel2, places = places0 * places1 * places2;
    for (int64_t n = 0; n < samples; n++)
        for (int64_t g = 0; g < groups; g++, x += theirs * x0 * x1 * x2, small += (int64_t)mine * places) {{
            su_unfold(theirs, {_PASSED}, x, columns);
            su_gemm(dgemm, threads, 'T', 'N', width, mine, places, 1.0, columns, places, small, places, n ? 1.0 : 0.0,
                    out + g * mine * width, width);
        }}
}}
""",
}
