/* One row of numbers in order, each with its place in the row. */
struct item {
    double value;
    int64_t place;
};

/* Bits of a number as an integer in the numbers' order. */
static inline uint64_t key_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

enum { DIGIT = 11, DIGITS = 6, RADIX = 1 << DIGIT };

/* By the digits of the bits, the last one first: for any numbers in the same time. The result is in `items`. */
static void sort_by_digits(struct item *items, struct item *other, int64_t size)
{
    struct item *from = items, *to = other;
    for (int digit = 0; digit < DIGITS; digit++) {
        int64_t begin[RADIX] = {0}, next = 0;
        for (int64_t i = 0; i < size; i++)
            begin[key_of(from[i].value) >> DIGIT * digit & (RADIX - 1)]++;
        for (int b = 0; b < RADIX; b++) {
            const int64_t count = begin[b];
            begin[b] = next;
            next += count;
        }
        for (int64_t i = 0; i < size; i++)
            to[begin[key_of(from[i].value) >> DIGIT * digit & (RADIX - 1)]++] = from[i];
        struct item *const swap = from;
        from = to;
        to = swap;
    }
}

/* By about as many intervals of equal width as there are numbers, and within these by insertion. Where that takes long, for the
   numbers lie in few of them, by digits. All are finite, and -0 is not among them. */
static void sort(const double *row, int64_t size, double least, double most, struct item *items, struct item *other,
                 uint32_t *begin)
{
    const double scale = (double)(size - 1) / (most - least);
    if (!(most > least) || !isfinite(scale) || !isfinite(scale * (most - least))) {
        for (int64_t i = 0; i < size; i++)
            items[i] = (struct item){row[i], i};
        if (most > least)
            sort_by_digits(items, other, size);
        return;
    }
    memset(begin, 0, (size_t)size * sizeof *begin);
    for (int64_t i = 0; i < size; i++)
        begin[(int64_t)((row[i] - least) * scale)]++;
    uint32_t next = 0;
    for (int64_t b = 0; b < size; b++) {
        const uint32_t count = begin[b];
        begin[b] = next;
        next += count;
    }
    for (int64_t i = 0; i < size; i++)
        items[begin[(int64_t)((row[i] - least) * scale)]++] = (struct item){row[i], i};
    int64_t patience = 8 * size;
    for (int64_t i = 1; i < size; i++) {
        const struct item moving = items[i];
        int64_t k = i;
        while (k > 0 && items[k - 1].value > moving.value) {
            items[k] = items[k - 1];
            k--;
        }
        items[k] = moving;
        patience -= i - k;
        if (patience < 0) {
            sort_by_digits(items, other, size);
            return;
        }
    }
}

/* A quantile of numbers in order, to the last bit NumPy's: draws are compared with it. */
static double quantile(const struct item *items, int64_t size, double probability)
{
    const double place = probability * (double)(size - 1), t = place - floor(place);
    const int64_t below = (int64_t)floor(place), above = below + 1 < size ? below + 1 : size - 1;
    const double low = items[below].value, high = items[above].value;
    const volatile double part = (high - low) * (t < 0.5 ? t : 1.0 - t); /* rounded by itself */
    return t < 0.5 ? low + part : high - part;
}

/* Normal scores of the average ranks of numbers in order, where these were. `table` has one for each sum of two ranks. */
static void score(const struct item *items, int64_t size, const double *table, double *scores)
{
    for (int64_t begin = 0, end; begin < size; begin = end) {
        for (end = begin + 1; end < size && items[end].value == items[begin].value; end++)
            ;
        const double common = table[begin + end - 1];
        for (int64_t i = begin; i < end; i++)
            scores[items[i].place] = common;
    }
}

/* The distances from the median of an even number in order, in order: those below fall, those above rise. */
static void fold(const struct item *items, int64_t size, double median, struct item *folded)
{
    int64_t below = size / 2 - 1, above = size / 2;
    for (int64_t i = 0; i < size; i++) {
        const double left = below >= 0 ? median - items[below].value : INFINITY;
        const double right = above < size ? items[above].value - median : INFINITY;
        const int nearer = below >= 0 && (above >= size || left <= right);
        folded[i] = nearer ? (struct item){left, items[below].place} : (struct item){right, items[above].place};
        below -= nearer;
        above += !nearer;
    }
}
