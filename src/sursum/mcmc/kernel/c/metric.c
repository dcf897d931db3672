/* A linear map A with A A^T the inverse mass: q moves by A p, and the gradient by p's coordinates is A^T g. Momenta are N(0, I).
   Diagonal: A = S. Low rank: A = S (I + U F U^T), U orthonormal in rows. Dense: A lower triangular. */
enum { DIAGONAL, LOW_RANK, DENSE };

struct metric {
    int64_t kind, rank;
    const double *scale, *vectors, *factors;
};

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0.0;
    #pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* x + U F U^T x, in place, by four rows of U at a time: x passes through the registers a fourth as often. */
static void stretch(const struct metric *m, size_t n, double *restrict x)
{
    double along[m->rank > 0 ? m->rank : 1];
    const int64_t fours = m->rank / 4 * 4;
    for (int64_t k = 0; k < fours; k += 4) {
        const double *restrict a = m->vectors + k * n, *restrict b = a + n, *restrict c = b + n, *restrict d = c + n;
        double on_a = 0.0, on_b = 0.0, on_c = 0.0, on_d = 0.0;
        #pragma omp simd reduction(+ : on_a, on_b, on_c, on_d)
        for (size_t i = 0; i < n; i++) {
            on_a += a[i] * x[i];
            on_b += b[i] * x[i];
            on_c += c[i] * x[i];
            on_d += d[i] * x[i];
        }
        along[k] = m->factors[k] * on_a;
        along[k + 1] = m->factors[k + 1] * on_b;
        along[k + 2] = m->factors[k + 2] * on_c;
        along[k + 3] = m->factors[k + 3] * on_d;
    }
    for (int64_t k = fours; k < m->rank; k++)
        along[k] = m->factors[k] * dot(n, m->vectors + k * n, x);
    for (int64_t k = 0; k < fours; k += 4) {
        const double *restrict a = m->vectors + k * n, *restrict b = a + n, *restrict c = b + n, *restrict d = c + n;
        const double on_a = along[k], on_b = along[k + 1], on_c = along[k + 2], on_d = along[k + 3];
        #pragma omp simd
        for (size_t i = 0; i < n; i++)
            x[i] += (on_a * a[i] + on_b * b[i]) + (on_c * c[i] + on_d * d[i]);
    }
    for (int64_t k = fours; k < m->rank; k++) {
        const double *restrict u = m->vectors + k * n, on_u = along[k];
        #pragma omp simd
        for (size_t i = 0; i < n; i++)
            x[i] += on_u * u[i];
    }
}

/* to = from + step A p. */
static void move(const struct metric *m, size_t n, double step, const double *from, const double *p, double *to)
{
    if (m->kind == DIAGONAL) {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i] + step * m->scale[i] * p[i];
    } else if (m->kind == LOW_RANK) {
        memcpy(to, p, n * sizeof *to);
        stretch(m, n, to);
        for (size_t i = 0; i < n; i++)
            to[i] = from[i] + step * m->scale[i] * to[i];
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i] + step * dot(i + 1, m->vectors + i * n, p);
    }
}

/* A^T g. */
static void whiten(const struct metric *m, size_t n, const double *g, double *w)
{
    if (m->kind == DENSE) {
        memset(w, 0, n * sizeof *w);
        for (size_t i = 0; i < n; i++) {
            const double *row = m->vectors + i * n, s = g[i];
            for (size_t j = 0; j <= i; j++)
                w[j] += s * row[j];
        }
        return;
    }
    for (size_t i = 0; i < n; i++)
        w[i] = m->scale[i] * g[i];
    if (m->kind == LOW_RANK)
        stretch(m, n, w);
}
