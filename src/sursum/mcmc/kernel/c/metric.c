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

/* x + U F U^T x, in place. */
static void stretch(const struct metric *m, size_t n, double *x)
{
    double along[m->rank > 0 ? m->rank : 1];
    for (int64_t k = 0; k < m->rank; k++)
        along[k] = m->factors[k] * dot(n, m->vectors + k * n, x);
    for (int64_t k = 0; k < m->rank; k++) {
        const double *u = m->vectors + k * n, a = along[k];
        for (size_t i = 0; i < n; i++)
            x[i] += a * u[i];
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
