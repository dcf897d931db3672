/* Effective sample sizes by Geyer's initial monotone sequence. */
enum { LONGEST = 512 }; /* lags, after which a Fourier transform takes less time */
static const double DOUBT = 1e-10; /* sums so near to zero end the sequence or not by rounding: the transform decides */

/* What autocovariances are of: some chains of one length, their scores or whether they are below a bound, as bits. */
struct series {
    int64_t chains, length, words;
    const double *deviations;
    const uint64_t *bits;
    double *means;
    int64_t *heads, *tails; /* bits of each chain that are paired with a later one, and with an earlier one */
};

/* Sums of products of a chain with itself `lag` and `lag + 1` later, eight at a time in an order of its own. */
static void products(const double *x, int64_t length, int64_t lag, double found[2])
{
    double s[8] = {0.0}, t[8] = {0.0};
    const int64_t count = length - lag, both = count - 1;
    const double *y = x + lag;
    int64_t i = 0;
    for (; i + 8 <= both; i += 8)
        for (int j = 0; j < 8; j++) {
            s[j] += x[i + j] * y[i + j];
            t[j] += x[i + j] * y[i + j + 1];
        }
    for (int j = 0; i + j < count; j++) {
        s[j] += x[i + j] * y[i + j];
        if (i + j < both)
            t[j] += x[i + j] * y[i + j + 1];
    }
    found[0] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    found[1] = ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7]));
}

static inline int64_t bit(const uint64_t *bits, int64_t i)
{
    return (int64_t)(bits[i >> 6] >> (i & 63) & 1);
}

/* How many bits are set together with the one `lag` later; after the last are zeros. */
static int64_t pairs(const uint64_t *bits, int64_t words, int64_t lag)
{
    const int64_t whole = lag >> 6;
    const int rest = (int)(lag & 63);
    int64_t found = 0;
    for (int64_t i = 0; i + whole < words; i++) {
        uint64_t later = bits[i + whole] >> rest;
        if (rest && i + whole + 1 < words)
            later |= bits[i + whole + 1] << (64 - rest);
        found += __builtin_popcountll(bits[i] & later);
    }
    return found;
}

/* Autocovariances at an even lag and the next, averaged over chains. Lags are asked for in order. */
static void at_lags(struct series *s, int64_t lag, double found[2])
{
    const int64_t n = s->length;
    double sum[2] = {0.0, 0.0};
    for (int64_t c = 0; c < s->chains; c++) {
        if (s->bits == NULL) {
            double both[2];
            products(s->deviations + c * n, n, lag, both);
            sum[0] += both[0];
            sum[1] += both[1];
            continue;
        }
        const uint64_t *x = s->bits + c * s->words;
        const double m = s->means[c];
        for (int64_t k = lag; k < lag + 2; k++) {
            sum[k - lag] += (double)pairs(x, s->words, k) - m * (double)(s->heads[c] + s->tails[c]) + (double)(n - k) * (m * m);
            s->heads[c] -= bit(x, n - 1 - k);
            s->tails[c] -= bit(x, k);
        }
    }
    found[0] = sum[0] / (double)(s->chains * n);
    found[1] = sum[1] / (double)(s->chains * n);
}

/* Variance of some numbers, by one less than their number. */
static double variance(const double *x, int64_t count)
{
    double mean = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; i++)
        mean += x[i];
    mean /= (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    return squares / (double)(count - 1);
}

/* NaN where the transform must decide. `least` is the shortest time. */
static double effective_size(struct series *s, double least)
{
    const int64_t n = s->length, count = n > 2 ? (n - 1) / 2 : 1;
    double at[2], within = 0.0, total = 0.0, before = 0.0, lowest = INFINITY, last = 0.0;
    for (int64_t k = 0; k < count; k++) {
        if (2 * k >= LONGEST)
            return NAN;
        at_lags(s, 2 * k, at);
        if (k == 0) {
            within = at[0] * (double)n / ((double)n - 1.0);
            total = at[0] + variance(s->means, s->chains);
        }
        const double even = k == 0 ? 1.0 : 1.0 - (within - at[0]) / total, odd = 1.0 - (within - at[1]) / total;
        const double sum = even + odd;
        if (fabs(sum) < DOUBT)
            return NAN;
        if (!(sum > 0.0) || k == count - 1) {
            last = even > 0.0 || sum >= 0.0 ? even : 0.0;
            break;
        }
        lowest = sum < lowest ? sum : lowest;
        before += lowest;
    }
    const double time = -1.0 + 2.0 * before + last;
    return (double)(s->chains * n) / (time > least ? time : least);
}
