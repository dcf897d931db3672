/* R-hat, effective sample sizes and moments of unknowns, each from one sort of its draws. */
enum { RHAT, BULK, TAIL, MEAN, SD, LOW, MIDDLE, HIGH, NUMBERS };
enum { TOGETHER = 8 }; /* unknowns that are read in one go, for they stand beside one another */

struct work {
    int64_t chains, length, half, size, kept, words;
    double *rows, *scores, *means;
    struct item *items, *other;
    int64_t *slots, *counts; /* `slots` are the draws' places among halves of chains, -1 for one in the middle */
    uint64_t *bits;
    uint32_t *begin;
};

/* Sums of eight, in an order of its own. */
static double sum(const double *x, int64_t count)
{
    double s[8] = {0.0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int j = 0; j < 8; j++)
            s[j] += x[i + j];
    for (int j = 0; i + j < count; j++)
        s[j] += x[i + j];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static double squares(double *x, int64_t count, double mean)
{
    double s[8] = {0.0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int j = 0; j < 8; j++) {
            x[i + j] -= mean;
            s[j] += x[i + j] * x[i + j];
        }
    for (int j = 0; i + j < count; j++) {
        x[i + j] -= mean;
        s[j] += x[i + j] * x[i + j];
    }
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* The potential scale reduction factor of halves of chains, which become deviations from their means. */
static double r_hat(const struct work *w, double *scores)
{
    const int64_t halves = 2 * w->chains, n = w->half;
    double within = 0.0;
    for (int64_t h = 0; h < halves; h++) {
        w->means[h] = sum(scores + h * n, n) / (double)n;
        within += squares(scores + h * n, n, w->means[h]) / (double)(n - 1);
    }
    within /= (double)halves;
    return sqrt(((double)n * variance(w->means, halves) / within + (double)n - 1.0) / (double)n);
}

/* The effective size of whether the draws are at most `bound`. */
static double tail_size(const struct work *w, const double *row, double bound, double least)
{
    struct series s = {2 * w->chains, w->half, w->words, NULL, w->bits, w->means, w->counts, w->counts + 2 * w->chains};
    memset(w->bits, 0, (size_t)(s.chains * w->words) * sizeof *w->bits);
    int64_t all = 0;
    for (int64_t h = 0; h < s.chains; h++) {
        const double *x = row + (h / 2) * w->length + (h % 2 ? w->length - w->half : 0);
        uint64_t *bits = w->bits + h * w->words;
        for (int64_t i = 0; i < w->half; i++)
            bits[i >> 6] |= (uint64_t)(x[i] <= bound) << (i & 63);
        int64_t set = 0;
        for (int64_t i = 0; i < w->words; i++)
            set += __builtin_popcountll(bits[i]);
        s.heads[h] = s.tails[h] = set;
        s.means[h] = (double)set / (double)w->half;
        all += set;
    }
    if (all == 0 || all == w->kept)
        return (double)w->kept;
    return effective_size(&s, least);
}

static double smaller(double a, double b)
{
    return isnan(a) || a < b ? a : b;
}

/* The numbers of one row, which is used up; whether all of them are known, or the others must be found in another way. */
static int measure(const struct work *w, double *row, const double *table, const double *tails, double least, double *out)
{
    double lowest = INFINITY, highest = -INFINITY;
    int known = 1;
    for (int64_t i = 0; i < w->size; i++) {
        known &= !isnan(row[i]);
        lowest = row[i] < lowest ? row[i] : lowest;
        highest = row[i] > highest ? row[i] : highest;
    }
    for (int k = 0; k < NUMBERS; k++)
        out[k] = NAN;
    if (!known || !isfinite(highest - lowest))
        return !known;
    sort(row, w->size, lowest, highest, w->items, w->other, w->begin);
    out[LOW] = quantile(w->items, w->size, tails[0]);
    out[MIDDLE] = quantile(w->items, w->size, 0.5);
    out[HIGH] = quantile(w->items, w->size, tails[1]);
    int64_t kept = 0;
    for (int64_t i = 0; i < w->size; i++) {
        const struct item one = w->items[i];
        if (w->slots[one.place] >= 0)
            w->items[kept++] = (struct item){one.value, w->slots[one.place]};
    }
    const double median = (w->items[kept / 2 - 1].value + w->items[kept / 2].value) / 2.0;
    if (!isfinite(median))
        return 0;
    score(w->items, kept, table, w->scores);
    const double of_ranks = r_hat(w, w->scores);
    struct series s = {2 * w->chains, w->half, w->words, w->scores, NULL, w->means, NULL, NULL};
    const int constant = w->items[0].value == w->items[kept - 1].value;
    out[BULK] = constant ? (double)kept : effective_size(&s, least);
    if (w->chains > 1) {
        fold(w->items, kept, median, w->other);
        score(w->other, kept, table, w->scores);
        const double of_distances = r_hat(w, w->scores);
        out[RHAT] = isnan(of_ranks) || of_ranks > of_distances ? of_ranks : of_distances;
    }
    out[TAIL] = smaller(tail_size(w, row, out[LOW], least), tail_size(w, row, out[HIGH], least));
    const double mean = sum(row, w->size) / (double)w->size;
    out[SD] = sqrt(squares(row, w->size, mean) / (double)(w->size - 1));
    out[MEAN] = mean + sum(row, w->size) / (double)w->size; /* what rounding has left of it */
    return !isnan(out[BULK]) && !isnan(out[TAIL]) && isfinite(out[MEAN]) && isfinite(out[SD]);
}

static void *part(char **memory, int64_t count, size_t size)
{
    void *found = *memory;
    *memory += ((size_t)count * size + 63) & ~(size_t)63;
    return found;
}

/* The numbers of `count` unknowns that stand beside one another: `out` is (NUMBERS, of all), with rows `stride` apart, and `rest`
   says for each whether some are not known. `table` has a normal score for each sum of two ranks of the draws in halves of chains.
   Returns 0, or -1 where there is no memory. */
int64_t sursum_measure(const double *draws, int64_t chains, int64_t length, int64_t to_chain, int64_t to_draw, int64_t count,
                      const double *table, const double *tails, double least, double *out, int64_t stride, uint8_t *rest)
{
    const int64_t size = chains * length, half = length / 2, words = (half + 63) / 64;
    struct work w = {.chains = chains, .length = length, .half = half, .size = size, .kept = 2 * chains * half, .words = words};
    const size_t bytes = (size_t)size * (TOGETHER + 1) * sizeof(double) + (size_t)size * (2 * sizeof(struct item) + 12)
                         + (size_t)(2 * chains * (words + 3)) * 8 + 64 * 16;
    char *const whole = malloc(bytes), *memory = whole;
    if (whole == NULL)
        return -1;
    w.rows = part(&memory, TOGETHER * size, sizeof(double));
    w.scores = part(&memory, size, sizeof(double));
    w.means = part(&memory, 2 * chains, sizeof(double));
    w.items = part(&memory, size, sizeof(struct item));
    w.other = part(&memory, size, sizeof(struct item));
    w.slots = part(&memory, size, sizeof(int64_t));
    w.counts = part(&memory, 4 * chains, sizeof(int64_t));
    w.bits = part(&memory, 2 * chains * words, sizeof(uint64_t));
    w.begin = part(&memory, size, sizeof(uint32_t));
    for (int64_t c = 0; c < chains; c++)
        for (int64_t i = 0; i < length; i++)
            w.slots[c * length + i] = i < half ? 2 * c * half + i : i >= length - half ? 2 * c * half + i - (length - 2 * half) : -1;
    for (int64_t begin = 0; begin < count; begin += TOGETHER) {
        const int64_t many = count - begin < TOGETHER ? count - begin : TOGETHER;
        for (int64_t c = 0; c < chains; c++)
            for (int64_t i = 0; i < length; i++)
                for (int64_t k = 0; k < many; k++)
                    w.rows[k * size + c * length + i] = draws[c * to_chain + i * to_draw + begin + k] + 0.0; /* no -0 */
        for (int64_t k = 0; k < many; k++) {
            double numbers[NUMBERS];
            rest[begin + k] = !measure(&w, w.rows + k * size, table, tails, least, numbers);
            for (int j = 0; j < NUMBERS; j++)
                out[j * stride + begin + k] = numbers[j];
        }
    }
    free(whole);
    return 0;
}
