/* Hamiltonian Monte Carlo: a trajectory of a given length, half of it to one and a half times as long, and a Metropolis decision. */
static struct node *draw_by_hmc(struct walk *w, struct node *start)
{
    const double length = w->chain->length * (0.5 + decide(w));
    const double wanted = ceil(length / w->chain->step_size), most = (double)w->chain->max_steps;
    const int64_t count = wanted < 1.0 ? 1 : wanted < most ? (int64_t)wanted : w->chain->max_steps;
    struct node *at = keep(start);
    for (int64_t i = 0; i < count && !w->ended; i++) {
        struct node *to = take(w);
        leapfrog(w, at, to, w->chain->step_size);
        drop(w, at);
        at = to;
        if (!(w->start - at->energy >= -1000.0)) {
            w->diverged = 1;
            break;
        }
    }
    const double gain = w->diverged ? -INFINITY : w->start - at->energy;
    w->leaves = 1;
    w->accepted = exp(fmin(gain, 0.0));
    w->symmetric = gain < 0.0 ? 2.0 * exp(gain) / (1.0 + exp(gain)) : 2.0 / (1.0 + exp(gain));
    if (decide(w) < w->accepted)
        return at;
    drop(w, at);
    return keep(start);
}
