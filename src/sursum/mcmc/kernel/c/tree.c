/* The trajectory of the No-U-Turn sampler, as a binary tree: multinomial weights (Betancourt 2017, appendix A). */
struct tree {
    struct node *first, *last, *sample;
    const double *sum; /* of the momenta */
    double weight; /* the logarithm of the sum of exp(start - energy) */
};

static double log_add(double a, double b)
{
    const double most = fmax(a, b), least = fmin(a, b);
    return isinf(most) ? most : most + log1p(exp(least - most));
}

/* One leaf after `from`; whether the trajectory may go on. */
static int leaf(struct walk *w, struct node *from, double step, struct tree *out)
{
    struct node *to = take(w);
    int fine = 1;
    w->leaves++;
    if (w->chain->kernel == WALNUTS)
        fine = adaptive_step(w, from, to, step);
    else
        leapfrog(w, from, to, step);
    const double gain = w->start - to->energy;
    if (w->chain->kernel != WALNUTS) {
        w->accepted += exp(fmin(gain, 0.0));
        w->symmetric += gain < 0.0 ? 2.0 * exp(gain) / (1.0 + exp(gain)) : 2.0 / (1.0 + exp(gain));
        if (!(gain >= -1000.0)) {
            fine = 0;
            w->diverged = 1;
        }
    }
    if (!fine || w->ended) {
        drop(w, to);
        return 0;
    }
    out->first = to;
    out->last = keep(to);
    out->sample = keep(to);
    out->sum = to->p;
    out->weight = gain;
    return 1;
}

static void fell(struct walk *w, struct tree *t)
{
    drop(w, t->first);
    drop(w, t->last);
    drop(w, t->sample);
}

/* 2^depth leaves after `from`; 0 where the trajectory turned back within, or ended. `place` is 0 or 1: which half this is. */
static int grow(struct walk *w, struct node *from, int64_t depth, double step, int place, struct tree *out)
{
    if (depth == 0)
        return leaf(w, from, step, out);
    struct tree a, b;
    if (!grow(w, from, depth - 1, step, 0, &a))
        return 0;
    if (!grow(w, a.last, depth - 1, step, 1, &b)) {
        fell(w, &a);
        return 0;
    }
    double *sum = w->sums[2 * depth + place];
    if (turns(w->n, a.sum, b.sum, a.first->p, a.last->p, b.first->p, b.last->p, sum)) {
        fell(w, &a);
        fell(w, &b);
        return 0;
    }
    const double weight = log_add(a.weight, b.weight);
    const int second = decide(w) < exp(b.weight - weight);
    out->sample = second ? b.sample : a.sample;
    drop(w, second ? a.sample : b.sample);
    out->first = a.first;
    out->last = b.last;
    drop(w, a.last);
    drop(w, b.first);
    out->sum = sum;
    out->weight = weight;
    return 1;
}

/* The draw after `start`, whose momentum is set; the depth is written. */
static struct node *draw_from_tree(struct walk *w, struct node *start, int64_t *depth, int64_t *full)
{
    /* The whole trajectory; `first` is its past end, `last` its future one. */
    struct tree all = {keep(start), keep(start), keep(start), w->sums[0], 0.0};
    memcpy(w->sums[0], start->p, w->n * sizeof(double));
    *full = 0;
    for (*depth = 0; *depth < w->chain->max_depth;) {
        struct tree more;
        const int forward = decide(w) < 0.5;
        const double step = forward ? w->chain->step_size : -w->chain->step_size;
        if (!grow(w, forward ? all.last : all.first, *depth, step, 0, &more))
            break;
        ++*depth;
        const int taken = decide(w) < exp(more.weight - all.weight);
        if (taken) {
            struct node *old = all.sample;
            all.sample = keep(more.sample);
            drop(w, old);
        }
        drop(w, more.sample);
        const struct node *far = forward ? all.first : all.last, *near = forward ? all.last : all.first;
        const int turned = turns(w->n, all.sum, more.sum, far->p, near->p, more.first->p, more.last->p, w->sums[0]);
        all.weight = log_add(all.weight, more.weight);
        struct node **end = forward ? &all.last : &all.first;
        drop(w, *end);
        *end = more.last;
        drop(w, more.first);
        if (turned)
            break;
        *full = *depth == w->chain->max_depth;
    }
    drop(w, all.first);
    drop(w, all.last);
    return all.sample;
}
