/* The warm-up: scales from the spread of draws and gradients in two overlapping windows, (var q / var g)^(1/4), and the step
   size with them. */
static double *window(const struct walk *w, int which)
{
    return arrays(w->chain).windows + 4 * w->n * which;
}

static void observe(size_t n, double *window, int64_t count, const double *q, const double *g)
{
    double *mq = window, *sq = window + n, *mg = window + 2 * n, *sg = window + 3 * n;
    const double share = 1.0 / (double)count;
    for (size_t i = 0; i < n; i++) {
        const double a = q[i] - mq[i], b = g[i] - mg[i];
        mq[i] += share * a;
        sq[i] += a * (q[i] - mq[i]);
        mg[i] += share * b;
        sg[i] += b * (g[i] - mg[i]);
    }
}

static void scale_by_windows(struct walk *w)
{
    double *scale = arrays(w->chain).scale;
    const double *sq = window(w, 0) + w->n, *sg = window(w, 0) + 3 * w->n;
    for (size_t i = 0; i < w->n; i++) {
        const double ratio = sqrt(sqrt(sq[i] / sg[i]));
        scale[i] = ratio > 1e-10 && ratio < 1e10 ? ratio : scale[i];
    }
}

static void scale_by_gradient(struct walk *w, const double *g)
{
    double *scale = arrays(w->chain).scale;
    for (size_t i = 0; i < w->n; i++) {
        const double size = 1.0 / sqrt(fabs(g[i]));
        scale[i] = size > 1e-10 ? fmin(size, 1.0) : 1e-10;
    }
}

/* Far from where the mass is, what was seen says nothing of it: begin again from here. */
static int falls(struct walk *w, const struct node *sample, double gain)
{
    struct chain *c = w->chain;
    if (!c->adapts_metric || c->draw >= c->late || !(gain > 50.0 + 10.0 * sqrt((double)w->n)))
        return 0;
    memset(window(w, 0), 0, 8 * w->n * sizeof(double));
    c->old_count = c->new_count = c->scaled = 0;
    c->search = 1;
    scale_by_gradient(w, sample->g);
    return 1;
}

/* After a draw of the warm-up, whose log density is larger by `gain` than that of the draw before. */
static void adapt(struct walk *w, const struct node *sample, int moved, double gain, double accepted, double symmetric)
{
    struct chain *c = w->chain;
    if (falls(w, sample, gain))
        return;
    const int64_t last = c->num_warmup - 1, frequency = c->draw < c->early ? 10 : 80;
    const int late = c->draw + frequency > c->late;
    int first = 0;
    if (c->adapts_metric && c->draw < c->late) {
        if (moved)
            for (int which = 0; which < 2; which++) {
                int64_t *count = which ? &c->new_count : &c->old_count;
                observe(w->n, window(w, which), ++*count, sample->q, sample->g);
            }
        if (c->new_count >= frequency && !late) {
            memcpy(window(w, 0), window(w, 1), 4 * w->n * sizeof(double));
            memset(window(w, 1), 0, 4 * w->n * sizeof(double));
            c->old_count = c->new_count;
            c->new_count = 0;
        }
        if (c->old_count >= 3) {
            scale_by_windows(w);
            first = !c->scaled;
            c->scaled = 1;
        }
    }
    average(c, late ? accepted : symmetric);
    if (first)
        c->search = 1;
    if (c->draw == last)
        c->step_size = exp(c->average);
}
