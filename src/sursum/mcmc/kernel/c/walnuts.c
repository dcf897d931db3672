/* A step of WALNUTS (Bou-Rabee, Carpenter, Kleppe and Liu 2025): the fewest of 1, 2, 4, ... leapfrog steps over which the energy
   stays within the tolerance. Where the way back would take fewer, the step has no inverse, and the trajectory ends. */
static int stays(struct walk *w, const struct node *from, struct node *to, struct node *spare, double step, int64_t count)
{
    double least = from->energy, most = from->energy;
    struct node *a = count & 1 ? to : spare, *b = count & 1 ? spare : to;
    for (int64_t i = 0; i < count; i++) {
        leapfrog(w, from, a, step / (double)count);
        least = fmin(least, a->energy);
        most = fmax(most, a->energy);
        if (!(most - least <= w->chain->tolerance) || w->ended)
            return 0;
        from = a;
        a = b;
        b = (struct node *)from;
    }
    return 1;
}

/* Whether there is such a step. */
static int adaptive_step(struct walk *w, const struct node *from, struct node *to, double step)
{
    struct node *spare = take(w), *back = take(w);
    int found = 0;
    int64_t count = 1;
    for (int64_t k = 0; k <= w->chain->max_halvings && !w->ended; k++, count *= 2) {
        found = stays(w, from, to, spare, step, count);
        if (k == 0) {
            w->accepted += exp(-fmin(fabs(to->energy - from->energy), w->chain->tolerance));
            w->symmetric = w->accepted;
        }
        if (found)
            break;
    }
    if (!found)
        w->diverged = 1;
    for (int64_t fewer = count / 2; found && fewer >= 1 && !w->ended; fewer /= 2)
        found = !stays(w, to, back, spare, -step, fewer);
    drop(w, spare);
    drop(w, back);
    return found && !w->ended;
}
