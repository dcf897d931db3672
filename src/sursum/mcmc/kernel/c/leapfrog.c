/* Points of phase space, and the step from one to the next. */
typedef int64_t density(size_t n, const double *q, double *gradient, double *value, void *user_data);

struct node {
    double *q, *g, *w, *p; /* position, gradient, A^T gradient unless A is diagonal, momentum */
    double value, energy;
    int64_t users; /* trees that hold it; nobody's nodes are taken again */
};

struct walk {
    struct chain *chain;
    struct metric metric;
    size_t n;
    density *f;
    void *user_data;
    const int64_t *stop; /* which another thread may write */
    struct node *nodes, **spare;
    int64_t count; /* of spare nodes */
    double **sums;
    double start; /* the energy at which the draw began */
    double accepted, symmetric;
    int64_t leaves, steps, diverged, ended, failed;
    uint32_t decisions;
};

enum { STOPPED = 1, FAILED };

/* What a chain is told: to go on, to rest after a draw, to give up the draw and stop. */
enum { GO_ON, REST, NOW };

static int64_t told(const struct walk *w)
{
    return __atomic_load_n(w->stop, __ATOMIC_RELAXED);
}

static struct node *take(struct walk *w)
{
    struct node *found = w->spare[--w->count];
    found->users = 1;
    return found;
}

static struct node *keep(struct node *node)
{
    node->users++;
    return node;
}

static void drop(struct walk *w, struct node *node)
{
    if (--node->users == 0)
        w->spare[w->count++] = node;
}

static double decide(struct walk *w)
{
    uint32_t word[4];
    philox(w->chain->key, (uint64_t)w->chain->draw, DECISION, w->decisions++, word);
    return unit(word[0], word[1]);
}

static void measure(const struct walk *w, struct node *z)
{
    z->energy = 0.5 * dot(w->n, z->p, z->p) - z->value;
}

/* p' = p + e/2 A^T g(q), q' = q + e A p', then p'' = p' + e/2 A^T g(q'). Where the density is not finite the energy is infinite. */
static void leapfrog(struct walk *w, const struct node *from, struct node *to, double step)
{
    const size_t n = w->n;
    const double half = 0.5 * step;
    if (w->metric.kind == DIAGONAL) {
        const double *restrict s = w->metric.scale, *restrict x = from->q, *restrict g = from->g, *restrict r = from->p;
        double *restrict p = to->p, *restrict q = to->q;
        #pragma omp simd
        for (size_t i = 0; i < n; i++) {
            p[i] = r[i] + half * (s[i] * g[i]);
            q[i] = x[i] + step * s[i] * p[i];
        }
    } else {
        for (size_t i = 0; i < n; i++)
            to->p[i] = from->p[i] + half * from->w[i];
        move(&w->metric, n, step, from->q, to->p, to->q);
    }
    const int64_t code = w->f(n, to->q, to->g, &to->value, w->user_data);
    w->steps++;
    if (code < 0) {
        w->ended = FAILED;
        w->failed = code;
    } else if (told(w) == NOW)
        w->ended = STOPPED;
    if (code) {
        to->energy = INFINITY;
        return;
    }
    double kinetic = 0.0;
    if (w->metric.kind == DIAGONAL) {
        const double *restrict s = w->metric.scale, *restrict g = to->g;
        double *restrict p = to->p;
        #pragma omp simd reduction(+ : kinetic)
        for (size_t i = 0; i < n; i++) {
            p[i] += half * (s[i] * g[i]);
            kinetic += p[i] * p[i];
        }
    } else {
        whiten(&w->metric, n, to->g, to->w);
        #pragma omp simd reduction(+ : kinetic)
        for (size_t i = 0; i < n; i++) {
            to->p[i] += half * to->w[i];
            kinetic += to->p[i] * to->p[i];
        }
    }
    to->energy = 0.5 * kinetic - to->value;
    if (!isfinite(to->energy))
        to->energy = INFINITY;
}
