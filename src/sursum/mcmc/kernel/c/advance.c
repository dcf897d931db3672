/* The chain's next draws: their number, or a negative one where the density or the memory failed. */
struct record {
    double value, accepted, step_size, energy, energy_error;
    int64_t depth, steps, diverging, full, tuning;
};

static int64_t prepare(struct walk *w, char **memory)
{
    const int64_t depth = w->chain->max_depth, count = 4 * depth + 24, sums = 2 * depth + 4;
    const size_t stride = (w->n + 7) / 8 * 8, doubles = (size_t)(4 * count + sums) * stride;
    *memory = malloc(64 + doubles * sizeof(double) + (size_t)count * (sizeof(struct node) + sizeof(struct node *))
                     + (size_t)sums * sizeof(double *));
    if (!*memory)
        return -1;
    double *at = (double *)(((uintptr_t)*memory + 63) / 64 * 64);
    w->nodes = (struct node *)(at + doubles);
    w->spare = (struct node **)(w->nodes + count);
    w->sums = (double **)(w->spare + count);
    for (int64_t k = 0; k < count; k++, at += 4 * stride) {
        w->nodes[k] = (struct node){at, at + stride, at + 2 * stride, at + 3 * stride, 0.0, 0.0, 0};
        w->spare[count - 1 - k] = w->nodes + k;
    }
    for (int64_t k = 0; k < sums; k++, at += stride)
        w->sums[k] = at;
    w->count = count;
    return 0;
}

/* The draw after `start`, the depth of its tree, and whether that is the largest allowed. */
static struct node *transition(struct walk *w, struct node *start, int64_t *depth, int64_t *full)
{
    switch (w->chain->kernel) {
    case HMC:
        return draw_by_hmc(w, start);
    default:
        return draw_from_tree(w, start, depth, full);
    }
}

int64_t sursum_advance(struct chain *c, int64_t draws, density *f, void *user_data, const int64_t *stop, double *positions,
                       double *gradients, struct record *records)
{
    const size_t n = (size_t)c->dim;
    const struct arrays a = arrays(c);
    struct walk w = {.chain = c, .metric = {c->metric, c->rank, a.scale, a.vectors, a.factors}, .n = n, .f = f,
                     .user_data = user_data, .stop = stop};
    char *memory;
    if (prepare(&w, &memory))
        return -1000;
    int64_t made = 0;
    while (made < draws && (told(&w) == GO_ON || (told(&w) == REST && made == 0))) {
        struct node *start = take(&w);
        memcpy(start->q, a.position, n * sizeof(double));
        memcpy(start->g, a.gradient, n * sizeof(double));
        start->value = c->value;
        const int tuning = c->draw < c->num_warmup;
        w.steps = w.leaves = w.diverged = 0;
        w.accepted = w.symmetric = 0.0;
        w.decisions = 0;
        if (tuning && c->draw == 0 && c->adapts_metric && !c->scaled)
            scale_by_gradient(&w, start->g);
        if (w.metric.kind != DIAGONAL)
            whiten(&w.metric, n, start->g, start->w);
        if (tuning && c->search) {
            find_step(&w, start);
            if (w.ended)
                break;
            c->search = 0;
        }
        normals(c->key, (uint64_t)c->draw, MOMENTUM, 0, n, start->p);
        measure(&w, start);
        w.start = start->energy;
        int64_t depth = 0, full = 0;
        struct node *sample = transition(&w, start, &depth, &full);
        if (w.ended)
            break;
        const int moved = sample != start;
        const double accepted = w.leaves ? w.accepted / (double)w.leaves : 0.0;
        records[made] = (struct record){sample->value, accepted, c->step_size, sample->energy, sample->energy - w.start,
                                        depth, w.steps, w.diverged, full, tuning};
        memcpy(positions + made * n, sample->q, n * sizeof(double));
        if (gradients)
            memcpy(gradients + made * n, sample->g, n * sizeof(double));
        memcpy(a.position, sample->q, n * sizeof(double));
        memcpy(a.gradient, sample->g, n * sizeof(double));
        c->value = sample->value;
        if (tuning)
            adapt(&w, sample, moved, sample->value - start->value, accepted, w.leaves ? w.symmetric / (double)w.leaves : 0.0);
        drop(&w, sample);
        drop(&w, start);
        c->steps += w.steps;
        c->divergences += tuning ? 0 : w.diverged;
        made++;
        __atomic_store_n(&c->draw, c->draw + 1, __ATOMIC_RELEASE);
    }
    free(memory);
    return w.ended == FAILED ? w.failed : made;
}
