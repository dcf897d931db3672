/* Random numbers by counters: Philox4x32-10 (Salmon et al. 2011). The words of (draw, stream, index) are the same whatever has
   been drawn before. Logarithm and circle are polynomials, which loops can take many at once. */
enum { MOMENTUM, DECISION, TRIAL };

static inline void philox(uint64_t key, uint64_t draw, uint32_t stream, uint32_t index, uint32_t word[4])
{
    uint32_t a = index, b = stream, c = (uint32_t)draw, d = (uint32_t)(draw >> 32);
    uint32_t k = (uint32_t)key, l = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t x = (uint64_t)a * 0xD2511F53u, y = (uint64_t)c * 0xCD9E8D57u;
        a = (uint32_t)(y >> 32) ^ b ^ k;
        b = (uint32_t)y;
        c = (uint32_t)(x >> 32) ^ d ^ l;
        d = (uint32_t)x;
        k += 0x9E3779B9u;
        l += 0xBB67AE85u;
    }
    word[0] = a;
    word[1] = b;
    word[2] = c;
    word[3] = d;
}

/* In (0, 1), never the ends: 52 bits and a half. */
static inline double unit(uint32_t high, uint32_t low)
{
    const uint64_t bits = ((uint64_t)high << 32 | low) >> 12 | 0x3FF0000000000000u;
    double x;
    memcpy(&x, &bits, 8);
    return x - (1.0 - 0x1p-53);
}

static inline double logarithm(double u)
{
    uint64_t bits;
    memcpy(&bits, &u, 8);
    const uint64_t shifted = bits + (0x3FF0000000000000u - 0x3FE6A09E667F3BCDu); /* so that the rest is about 1 */
    const int32_t exponent = (int32_t)(shifted >> 52) - 1023;
    const uint64_t rest = (shifted & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu;
    double m;
    memcpy(&m, &rest, 8);
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    const double series = 1.0 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13
                        + z * (1.0 / 15 + z * (1.0 / 17 + z * (1.0 / 19)))))))));
    return exponent * 0.69314718055994530942 + 2.0 * s * series;
}

/* Two independent normals: Box and Muller. */
static inline void normal_pair(double u, double v, double *x, double *y)
{
    const double radius = sqrt(-2.0 * logarithm(u));
    const double quarter = (double)(int32_t)(4.0 * v + 0.5), r = 6.28318530717958647692 * (v - 0.25 * quarter), z = r * r;
    const double s = r * (1.0 - z / 6 * (1.0 - z / 20 * (1.0 - z / 42 * (1.0 - z / 72 * (1.0 - z / 110 * (1.0 - z / 156
                   * (1.0 - z / 210)))))));
    const double c = 1.0 - z / 2 * (1.0 - z / 12 * (1.0 - z / 30 * (1.0 - z / 56 * (1.0 - z / 90 * (1.0 - z / 132
                   * (1.0 - z / 182 * (1.0 - z / 240)))))));
    const int32_t turns = (int32_t)quarter & 3;
    const double cosine = turns & 1 ? s : c, sine = turns & 1 ? c : s;
    *x = radius * (turns == 1 || turns == 2 ? -cosine : cosine);
    *y = radius * (turns >= 2 ? -sine : sine);
}

static void normals(uint64_t key, uint64_t draw, uint32_t stream, uint32_t first, size_t n, double *x)
{
    enum { LANES = 8 };
    double u[LANES], v[LANES], a[LANES], b[LANES];
    for (size_t start = 0; start < n; start += 2 * LANES) {
        #pragma omp simd
        for (int lane = 0; lane < LANES; lane++) {
            uint32_t word[4];
            philox(key, draw, stream, first + (uint32_t)(start / 2) + lane, word);
            u[lane] = unit(word[0], word[1]);
            v[lane] = unit(word[2], word[3]);
        }
        #pragma omp simd
        for (int lane = 0; lane < LANES; lane++)
            normal_pair(u[lane], v[lane], a + lane, b + lane);
        const size_t rest = n - start < 2 * LANES ? n - start : 2 * LANES;
        for (size_t i = 0; i < rest; i++)
            x[start + i] = i & 1 ? b[i / 2] : a[i / 2];
    }
}
