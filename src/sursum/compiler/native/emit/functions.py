"""C functions of our own: those that the C library lacks, and those that work on whole arrays.

Each text is put into a program only if the program calls the function. References: digamma and trigamma by upward
recurrence and asymptotic series, Abramowitz and Stegun 6.3.5–6.3.18 and 6.4.6–6.4.12.
"""

from __future__ import annotations

from sursum.compiler.native.emit.factor import FACTOR
from sursum.compiler.native.emit.lu import LU
from sursum.compiler.native.emit.order import ORDER
from sursum.compiler.native.emit.special import SPECIAL
from sursum.compiler.native.emit.spectral import SPECTRAL
from sursum.compiler.native.emit.triangle import TRIANGLE
from sursum.compiler.native.emit.unfold import UNFOLD

#: Functions of the C library that may have a vector form in libmvec.
LIBM = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "pow", "atan2", "hypot", "cbrt"),
    }
)
#: Functions of the C library that are one instruction, or have no vector form.
PLAIN = frozenset(["sqrt", "fabs", "floor", "ceil", "trunc", "rint", "fmod", "copysign"])

#: What a function needs besides itself.
NEEDS = {
    "digamma": ("digamma_positive",),
    "ndtri": ("erfcx",),
    "su_correlate": ("su_gemm", "su_unfold"),
    "su_eigh": ("su_finite",),
    "su_factor_gradient": ("su_factor_leaf",),
    "su_factor_gradient_blas": ("su_factor_leaf", "su_gemm", "su_factor_halves"),
    "su_sort": ("su_sift",),
    "su_svd": ("su_finite",),
    "su_weigh": ("su_gemm", "su_unfold"),
}

SCALAR = {
    **SPECIAL,
    "scale": """
/* What keeps 1 / x finite for a subnormal x: a / x is (a * scale) * (1 / (x * scale)). */
static inline double su_scale(double x)
{
    return fabs(x) < 0x1p-1000 ? 0x1p64 : 1.0;
}
""",
    "lanes": """
/* Rows side by side: as many doubles as a register holds, and as many of those as a panel of 40 rows has. */
#ifdef __AVX512F__
enum { SU_LANES = 8, SU_PARTS = 5 };
#else
enum { SU_LANES = 4, SU_PARTS = 10 };
#endif
typedef double su_lanes __attribute__((vector_size(8 * SU_LANES), aligned(8), may_alias));
""",
    "extremes": """
/* The largest and the smallest of a loop. OpenMP's own max starts at -DBL_MAX in clang's loops, which is above -INFINITY. */
#ifdef __clang__
#pragma omp declare reduction(su_max:double:omp_out = omp_in > omp_out ? omp_in : omp_out) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(su_min:double:omp_out = omp_in < omp_out ? omp_in : omp_out) initializer(omp_priv = INFINITY)
#else
#define su_max max
#define su_min min
#endif
""",
    "integer": """
/* Cut off; the lowest integer where there is none. */
static inline int64_t su_integer(double x)
{
    return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}
""",
    "lgamma": """
static double su_lgamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}
""",
    "digamma_positive": """
static double su_digamma_positive(double x)
{
    double shift = 0.0;
    while (x < 10.0) {
        shift += 1.0 / x;
        x += 1.0;
    }
    const double z = 1.0 / (x * x);
    const double tail = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132
                      - z * (691.0 / 32760 - z * (1.0 / 12)))))));
    return (x < 1e17 ? log(x) - 0.5 / x - tail : log(x)) - shift;
}
""",
    "digamma": """
static double su_digamma(double x)
{
    if (x > 0.0)
        return su_digamma_positive(x);
    if (x == 0.0)
        return copysign(INFINITY, -x);
    if (x == trunc(x) || x != x)
        return NAN;
    const double part = x - trunc(x);
    return su_digamma_positive(1.0 - x) - 3.14159265358979323846 / tan(3.14159265358979323846 * part);
}
""",
    "trigamma": """
/* The series is cut where torch cuts it. */
static double su_trigamma(double x)
{
    double sign = 1.0, shift = 0.0;
    if (x < 0.5) {
        const double s = sin(3.14159265358979323846 * x);
        sign = -1.0;
        shift -= 9.86960440108935861883 / (s * s);
        x = 1.0 - x;
    }
    for (int k = 0; k < 6; k++) {
        shift += 1.0 / (x * x);
        x += 1.0;
    }
    const double z = 1.0 / (x * x);
    shift += (1.0 + 1.0 / (2.0 * x) + z * (1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42)))) / x;
    return sign * shift;
}
""",
    "erfinv": """
static double su_erfinv(double y)
{
    if (!(fabs(y) <= 1.0))
        return NAN;
    if (fabs(y) == 1.0)
        return copysign(INFINITY, y);
    /* Winitzki's start, then Halley's method on erf (on erfc in the tails, where erf cancels). */
    const double a = fabs(y), l = log1p(-a * a), b = 4.33074675034 + 0.5 * l;
    double x = a < 0.1 ? 0.88622692545275801365 * a : sqrt(sqrt(b * b - l / 0.147) - b);
    for (int k = 0; k < 4; k++) {
        const double error = a < 0.5 ? erf(x) - a : (1.0 - a) - erfc(x);
        const double step = error / (1.12837916709551257390 * exp(-x * x));
        x -= step / (1.0 + x * step);
    }
    return copysign(a == 0.0 ? 0.0 : x, y);
}
""",
    "floordiv": """
static double su_floordiv(double a, double b)
{
    if (b == 0.0)
        return a / b;
    const double rest = fmod(a, b);
    double ratio = (a - rest) / b;
    if (rest != 0.0 && (b < 0.0) != (rest < 0.0))
        ratio -= 1.0;
    if (ratio == 0.0)
        return copysign(0.0, a / b);
    const double whole = floor(ratio);
    return ratio - whole > 0.5 ? whole + 1.0 : whole;
}
""",
    "pymod": """
static double su_pymod(double a, double b)
{
    const double rest = fmod(a, b);
    return rest != 0.0 && (b < 0.0) != (rest < 0.0) ? rest + b : rest;
}
""",
    "intdiv": """
static int64_t su_intdiv(int64_t a, int64_t b)
{
    return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}
""",
    "intfloordiv": """
static int64_t su_intfloordiv(int64_t a, int64_t b)
{
    if (b == 0 || b == -1)
        return b == 0 ? 0 : (int64_t)(0 - (uint64_t)a);
    const int64_t ratio = a / b;
    return ratio - (a % b != 0 && (a < 0) != (b < 0));
}
""",
    "intmod": """
static int64_t su_intmod(int64_t a, int64_t b)
{
    if (b == 0 || b == -1)
        return 0;
    const int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
""",
}

ARRAYS = {
    **FACTOR,
    **LU,
    **ORDER,
    **SPECTRAL,
    **TRIANGLE,
    **UNFOLD,
    "su_cumsum": """
/* Sums along the middle of three dimensions. */
static void su_cumsum(int64_t outer, int64_t n, int64_t inner, const double *x, double *y)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double total = 0.0;
            for (int64_t k = 0; k < n; k++) {
                total += x[(o * n + k) * inner + i];
                y[(o * n + k) * inner + i] = total;
            }
        }
}
""",
    "su_cumprod": """
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
""",
    "su_logcumsumexp": """
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
""",
    "su_scatter_reduce": """
/* y[place] is reduced with x: sums, products, largest or smallest (mode 0 to 3); what y holds counts if `keep`. A NaN stays. */
static void su_scatter_reduce(int mode, int keep, int64_t n, const int64_t *place, const double *x, double *y)
{
    static const double nothing[] = {0.0, 1.0, -INFINITY, INFINITY};
    for (int64_t i = 0; !keep && i < n; i++)
        y[place[i]] = nothing[mode];
    for (int64_t i = 0; i < n; i++) {
        double *const out = y + place[i];
        const double t = x[i];
        if (mode == 0)
            *out += t;
        else if (mode == 1)
            *out *= t;
        else if (t != t || (mode == 2 ? *out < t : t < *out))
            *out = t;
    }
}
""",
    "su_cholesky": """
/* The lower factors of n by n matrices, row by row; code 0, or the order of the first minor that is not positive. */
static void su_cholesky(int64_t count, int64_t n, const double *a, double *l, int64_t *code)
{
    for (int64_t b = 0; b < count; b++, a += n * n, l += n * n) {
        code[b] = 0;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j <= i; j++) {
                double s = a[i * n + j];
                for (int64_t k = 0; k < j; k++)
                    s -= l[i * n + k] * l[j * n + k];
                if (i != j)
                    l[i * n + j] = s / l[j * n + j];
                else {
                    if (!(s > 0.0) && !code[b])
                        code[b] = i + 1;
                    l[i * n + i] = sqrt(s);
                }
            }
            for (int64_t j = i + 1; j < n; j++)
                l[i * n + j] = 0.0;
        }
    }
}
""",
    "su_cholesky_lapack": """
/* The same by LAPACK: a row-major lower triangle is a column-major upper one. */
static void su_cholesky_lapack(void *dpotrf, int64_t count, int64_t n, const double *a, double *l, int64_t *code)
{
    int size = (int)n, info;
    for (int64_t b = 0; b < count; b++, a += n * n, l += n * n) {
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                l[i * n + j] = j <= i ? a[i * n + j] : 0.0;
        ((void (*)(char *, int *, double *, int *, int *))dpotrf)("U", &size, l, &size, &info);
        for (int i = 0; i < size && !info; i++) /* not every LAPACK notices a NaN */
            if (!(l[i * n + i] > 0.0))
                info = i + 1;
        code[b] = info;
    }
}
""",
    "su_solve": """
/* A X = B for triangles, in place of B (n by m); `step` from one triangle to the next, `turned` if the memory holds the
   transpose of A, `unit` if the diagonal is taken for ones. */
static void su_solve(int64_t count, int64_t n, int64_t m, const double *a, int64_t step, int turned, int upper,
                     int unit, double *x)
{
    const int64_t row = turned ? 1 : n, column = turned ? n : 1;
    for (int64_t b = 0; b < count; b++, a += step, x += n * m)
        for (int64_t r = 0; r < n; r++) {
            const int64_t i = upper ? n - 1 - r : r;
            const int64_t from = upper ? i + 1 : 0, to = upper ? n : i;
            for (int64_t k = from; k < to; k++) {
                const double f = a[i * row + k * column];
#pragma omp simd
                for (int64_t j = 0; j < m; j++)
                    x[i * m + j] -= f * x[k * m + j];
            }
            if (!unit) {
                const double d = a[i * row + i * column];
                for (int64_t j = 0; j < m; j++)
                    x[i * m + j] /= d;
            }
        }
}
""",
    "su_solve_blas": """
/* The same by BLAS, which sees every matrix transposed. */
static void su_solve_blas(void *dtrsm, int64_t count, int64_t n, int64_t m, const double *a, int64_t step, int turned,
                          int upper, int unit, double *x)
{
    int rows = (int)m, size = (int)n;
    double one = 1.0;
    /* X' A' = B' in column-major order: the memory of A, read so, is A', or A where it is turned. */
    char *triangle = (upper != turned) ? "L" : "U";
    for (int64_t b = 0; b < count; b++, a += step, x += n * m)
        ((void (*)(char *, char *, char *, char *, int *, int *, double *, const double *, int *, double *, int *))
             dtrsm)("R", triangle, turned ? "T" : "N", unit ? "U" : "N", &rows, &size, &one, a, &size, x, &rows);
}
""",
    "su_gemm": """
/* C = alpha A B + beta C in column-major order, by one thread: `threads`, if any, sets how many BLAS uses here. */
static void su_gemm(void *dgemm, void *threads, char ta, char tb, int m, int n, int k, double alpha, const double *a,
                    int lda, const double *b, int ldb, double beta, double *c, int ldc)
{
    const int before = threads ? ((int (*)(int))threads)(1) : 0;
    ((void (*)(char *, char *, int *, int *, int *, double *, const double *, int *, const double *, int *, double *,
               double *, int *))dgemm)(&ta, &tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
    if (threads)
        ((int (*)(int))threads)(before);
}
""",
}
