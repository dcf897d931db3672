/* Whole numbers among the coordinates, each drawn given all the others, before every draw of the rest. */
enum { SWEEP = 3 }; /* the stream after those of a draw */
enum { LISTED = 64, WINDOW = 8, STRIDES = 10 };

/* Coordinates that a function of all of them, and of so much noise, draws together. */
struct block {
    density *f;
    void *user_data;
    int64_t first, count, noise;
};

struct held {
    density *f, *score; /* value and gradient; value alone, as an output */
    void *user_data, *score_data;
    int64_t n, m, count; /* coordinates that move, that are held; blocks */
    const struct block *blocks;
    const double *limits; /* least and largest value of each that is held */
    double *q, *gradient, *out, *in;
    int64_t index, failed;
    uint64_t key, draw;
};

/* What a trajectory sees: the density of the coordinates that move. */
static int64_t with_held(size_t n, const double *q, double *gradient, double *value, void *user_data)
{
    struct held *h = user_data;
    memcpy(h->q, q, n * sizeof(double));
    const int64_t code = h->f(n + (size_t)h->m, h->q, h->gradient, value, h->user_data);
    memcpy(gradient, h->gradient, n * sizeof(double));
    return code;
}

static double uniform(struct held *h)
{
    uint32_t word[4];
    philox(h->key, h->draw, SWEEP, (uint32_t)h->index++, word);
    return unit(word[0], word[1]);
}

static double score(struct held *h)
{
    double unused;
    const int64_t code = h->score((size_t)(h->n + h->m), h->q, h->out, &unused, h->score_data);
    if (code < 0)
        h->failed = code;
    return code == 0 && h->out[0] > -INFINITY ? h->out[0] : -INFINITY;
}

/* All values where they are few, else a window of them that has the one now at a random place: from any of them the same window is as
   likely, so that a draw among them leaves the distribution as it is. */
static void renew(struct held *h, int64_t e, double *now)
{
    double *at = h->q + h->n + e, scores[LISTED], largest = -INFINITY, sum = 0.0;
    const double here = *at, low = h->limits[2 * e], high = h->limits[2 * e + 1];
    double first = low, stride = 1.0;
    int64_t count = WINDOW, chosen = -1;
    if (high - low < LISTED) {
        count = (int64_t)(high - low) + 1;
    } else {
        const double u = uniform(h);
        stride = (double)((int64_t)1 << (int64_t)(STRIDES * u * u));
        first = here - stride * (double)(int64_t)(WINDOW * uniform(h));
    }
    for (int64_t k = 0; k < count; k++) {
        *at = first + stride * (double)k;
        scores[k] = *at == here ? *now : *at < low || *at > high ? -INFINITY : score(h);
        largest = scores[k] > largest ? scores[k] : largest;
    }
    const double u = uniform(h);
    double rest = 0.0;
    for (int64_t k = 0; k < count; k++)
        sum += largest > -INFINITY ? exp(scores[k] - largest) : 0.0;
    for (int64_t k = 0; k < count && chosen < 0 && sum > 0.0; k++) {
        rest += exp(scores[k] - largest);
        if (u * sum < rest)
            chosen = k;
    }
    *at = chosen < 0 ? here : first + stride * (double)chosen;
    *now = chosen < 0 ? *now : scores[chosen];
}

static void renew_block(struct held *h, const struct block *b)
{
    const size_t size = (size_t)(h->n + h->m);
    double unused;
    memcpy(h->in, h->q, size * sizeof(double));
    for (int64_t k = 0; k < b->noise; k++)
        h->in[size + (size_t)k] = uniform(h);
    const int64_t code = b->f(size + (size_t)b->noise, h->in, h->out, &unused, b->user_data);
    if (code < 0)
        h->failed = code;
    if (code == 0)
        memcpy(h->q + h->n + b->first, h->out, (size_t)b->count * sizeof(double));
}

static void sweep(struct held *h, double value)
{
    int known = 1;
    h->index = 0;
    for (int64_t k = 0; k < h->count && !h->failed; k++) {
        const struct block *b = h->blocks + k;
        if (b->f) {
            renew_block(h, b);
            known = 0;
            continue;
        }
        if (!known)
            value = score(h);
        known = 1;
        for (int64_t e = b->first; e < b->first + b->count && !h->failed; e++)
            renew(h, e, &value);
    }
}

int64_t sursum_gibbs(struct chain *c, int64_t draws, const int64_t *stop, double *positions, double *gradients,
                     struct record *records, struct held *h)
{
    const size_t n = (size_t)h->n, m = (size_t)h->m;
    const struct arrays a = arrays(c);
    double *before = malloc((n + m + 1) * sizeof(double));
    if (!before)
        return -1000;
    int64_t made = 0;
    const struct walk asked = {.stop = stop};
    while (made < draws && (told(&asked) == GO_ON || (told(&asked) == REST && made == 0))) {
        const double value = c->value;
        memcpy(before, a.gradient, n * sizeof(double));
        memcpy(before + n, a.held, m * sizeof(double));
        memcpy(h->q, a.position, n * sizeof(double));
        memcpy(h->q + n, a.held, m * sizeof(double));
        h->key = c->key;
        h->draw = (uint64_t)c->draw;
        h->failed = 0;
        sweep(h, value);
        int64_t code = h->failed < 0 ? h->failed : h->f(n + m, h->q, h->gradient, &c->value, h->user_data);
        if (code < 0) {
            free(before);
            return code;
        }
        if (code > 0) { /* where the parts round differently from the whole */
            memcpy(h->q + n, a.held, m * sizeof(double));
            c->value = value;
        } else {
            memcpy(a.held, h->q + n, m * sizeof(double));
            memcpy(a.gradient, h->gradient, n * sizeof(double));
        }
        double *row = positions + (size_t)made * (n + m);
        if (n) {
            code = sursum_advance(c, 1, with_held, h, stop, row, gradients ? gradients + (size_t)made * n : NULL, records + made);
        } else {
            records[made] = (struct record){c->value, 1.0, 0.0, -c->value, 0.0, 0, 0, 0, 0, c->draw < c->num_warmup};
            __atomic_store_n(&c->draw, c->draw + 1, __ATOMIC_RELEASE);
            code = 1;
        }
        if (code <= 0) { /* as if the draw had not begun */
            memcpy(a.gradient, before, n * sizeof(double));
            memcpy(a.held, before + n, m * sizeof(double));
            c->value = value;
            free(before);
            return code < 0 ? code : made;
        }
        memcpy(row + n, a.held, m * sizeof(double));
        made++;
    }
    free(before);
    return made;
}
