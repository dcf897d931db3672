/* Dual averaging of the logarithm of the step size (Hoffman and Gelman 2014, 3.2). */
static void begin_averaging(struct chain *c, double step)
{
    c->centre = log(10.0 * step);
    c->error = 0.0;
    c->average = log(step);
    c->updates = 0;
    c->step_size = step;
}

static void average(struct chain *c, double accepted)
{
    const double t = (double)++c->updates, weight = 1.0 / (t + 10.0);
    c->error = (1.0 - weight) * c->error + weight * (c->target - accepted);
    const double current = c->centre - sqrt(t) / 0.05 * c->error, share = pow(t, -0.75);
    c->average = share * current + (1.0 - share) * c->average;
    c->step_size = exp(current);
}

/* A step whose error in the energy crosses log 0.8, by doubling and halving from the present one. */
static void find_step(struct walk *w, const struct node *start)
{
    struct chain *c = w->chain;
    struct node *from = take(w), *to = take(w);
    const size_t n = w->n;
    memcpy(from->q, start->q, n * sizeof *from->q);
    memcpy(from->g, start->g, n * sizeof *from->g);
    memcpy(from->w, start->w, n * sizeof *from->w);
    from->value = start->value;
    double step = c->step_size;
    int direction = 0;
    for (uint32_t trial = 0; trial < 60 && !w->ended; trial++) {
        normals(c->key, (uint64_t)c->draw, TRIAL, trial * ((uint32_t)(n + 1) / 2), n, from->p);
        measure(w, from);
        leapfrog(w, from, to, step);
        const int larger = from->energy - to->energy > -0.22314355131420976 ? 1 : -1;
        if (direction && larger != direction)
            break;
        direction = larger;
        step *= direction > 0 ? 2.0 : 0.5;
    }
    drop(w, from);
    drop(w, to);
    begin_averaging(c, step);
}
