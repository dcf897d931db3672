/* Steps of stochastic optimisation: loss and gradient from a compiled function, then one of four rules. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int64_t (*function)(size_t, const double *, double *, double *, void *);

enum { SGD, ADAM, ADAGRAD, RMSPROP };

struct task {
    function loss;          /* (parameters, noise) to (loss, gradient), of one particle */
    void *data;
    int64_t dim, noise, particles;
    double order;           /* particles are joined by a mean of this order; 1: of logarithms */
    double clip_value, clip_norm;   /* 0: no clipping */
    int64_t rule;
    double a, b, eps, decay;        /* the rule's numbers: momentum and dampening, the betas */
    int64_t flag;           /* SGD: Nesterov; Adam: decoupled weight decay */
    int64_t taken;          /* steps that the optimiser has taken before */
    double *point;          /* dim + noise */
    double *out;            /* particles (1 + dim) */
    double *weight;         /* particles */
    double *slope;          /* dim; with one particle the gradient in `out` itself */
    double *first, *second; /* the optimiser's running averages, dim each */
    int64_t parts;          /* tensors in which parameters and averages lie; 0: the caller copies them */
    const int64_t *sizes;   /* of each, together dim */
    double *const *values, *const *firsts, *const *seconds; /* where they lie; NULL: the rule has no such average */
    float *const *counts;   /* where the number of steps is written; NULL: nowhere */
};

/* Loss and gradient over all particles; not 0 if a check of the programs failed. */
static int evaluate(const struct task *t, const double *noise, double *loss)
{
    const int64_t n = t->dim, width = 1 + n;
    double unused;
    for (int64_t k = 0; k < t->particles; k++) {
        memcpy(t->point + n, noise + k * t->noise, sizeof(double) * t->noise);
        if (t->loss(n + t->noise, t->point, t->out + k * width, &unused, t->data))
            return 1;
    }
    if (t->particles == 1) {
        *loss = t->out[0];
        return 0;
    }
    if (t->order == 1.0) {
        *loss = 0.0;
        for (int64_t k = 0; k < t->particles; k++) {
            *loss += t->out[k * width];
            t->weight[k] = 1.0;
        }
        *loss /= t->particles;
    } else {
        const double power = 1.0 - t->order;
        double largest = -INFINITY, sum = 0.0;
        for (int64_t k = 0; k < t->particles; k++)
            largest = fmax(largest, -power * t->out[k * width]);
        for (int64_t k = 0; k < t->particles; k++) {
            t->weight[k] = exp(-power * t->out[k * width] - largest);
            sum += t->weight[k];
        }
        *loss = -(largest + log(sum / t->particles)) / power;
        for (int64_t k = 0; k < t->particles; k++)
            t->weight[k] *= t->particles / sum;
    }
    memset(t->slope, 0, sizeof(double) * n);
    for (int64_t k = 0; k < t->particles; k++) {
        const double share = t->weight[k] / t->particles;
        const double *restrict one = t->out + k * width + 1;
        double *restrict slope = t->slope;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            slope[i] += share * one[i];
    }
    return 0;
}

static int all_finite(const struct task *t, double loss)
{
    double sum = loss * 0.0;
#pragma omp simd reduction(+:sum)
    for (int64_t i = 0; i < t->dim; i++)
        sum += t->slope[i] * 0.0;
    return sum == 0.0;
}

static void clip(const struct task *t)
{
    double *restrict g = t->slope;
    if (t->clip_value > 0.0)
        for (int64_t i = 0; i < t->dim; i++)
            g[i] = fmin(fmax(g[i], -t->clip_value), t->clip_value);
    if (t->clip_norm > 0.0) {
        double norm = 0.0;
#pragma omp simd reduction(+:norm)
        for (int64_t i = 0; i < t->dim; i++)
            norm += g[i] * g[i];
        const double share = fmin(t->clip_norm / (sqrt(norm) + 1e-6), 1.0);
        for (int64_t i = 0; i < t->dim; i++)
            g[i] *= share;
    }
}

/* 1 - rho^step, which is 1 long before rho^step is 0: a power takes as long as the rest of a small step. */
static double complement(double rho, int64_t step)
{
    return rho < 1.0 && (1.0 - rho) * step > 40.0 ? 1.0 : 1.0 - pow(rho, step);
}

static void move(const struct task *t, double rate, int64_t step)
{
    const int64_t n = t->dim;
    double *restrict x = t->point, *restrict g = t->slope, *restrict m = t->first, *restrict v = t->second;
    if (t->decay != 0.0) {
        if (t->rule == ADAM && t->flag)
            for (int64_t i = 0; i < n; i++)
                x[i] *= 1.0 - rate * t->decay;
        else
            for (int64_t i = 0; i < n; i++)
                g[i] += t->decay * x[i];
    }
    if (t->rule == ADAM) {
        /* m / (sqrt(v) / root + eps) with one division: most of a step's time may go into roots and divisions. */
        const double root = sqrt(complement(t->b, step)), size = rate / complement(t->a, step) * root;
        const double a = 1.0 - t->a, b = 1.0 - t->b, beta = t->b, eps = t->eps * root;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            m[i] += a * (g[i] - m[i]);
            v[i] = beta * v[i] + b * g[i] * g[i];
            x[i] -= size * m[i] / (sqrt(v[i]) + eps);
        }
    } else if (t->rule == ADAGRAD) {
        const double size = rate / (1.0 + (step - 1) * t->a), eps = t->eps;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            v[i] += g[i] * g[i];
            x[i] -= size * g[i] / (sqrt(v[i]) + eps);
        }
    } else if (t->rule == RMSPROP) {
        const double momentum = t->a, alpha = t->b, eps = t->eps;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            v[i] = alpha * v[i] + (1.0 - alpha) * g[i] * g[i];
            const double change = g[i] / (sqrt(v[i]) + eps);
            m[i] = momentum * m[i] + change;
            x[i] -= rate * (momentum > 0.0 ? m[i] : change);
        }
    } else {
        const double momentum = t->a, damp = step == 1 ? 1.0 : 1.0 - t->b;
        for (int64_t i = 0; i < n; i++) {
            double change = g[i];
            if (momentum != 0.0) {
                m[i] = momentum * m[i] + damp * g[i];
                change = t->flag ? g[i] + momentum * m[i] : m[i];
            }
            x[i] -= rate * change;
        }
    }
}

/* Tensors into one vector, or back. */
static void gather(const struct task *t, double *to, double *const *from)
{
    for (int64_t k = 0; from && k < t->parts; to += t->sizes[k++])
        memcpy(to, from[k], sizeof(double) * t->sizes[k]);
}

static void scatter(const struct task *t, const double *from, double *const *to)
{
    for (int64_t k = 0; to && k < t->parts; from += t->sizes[k++])
        memcpy(to[k], from, sizeof(double) * t->sizes[k]);
}

static int64_t take(const struct task *t, int64_t steps, const double *noise, const double *rates, double *losses)
{
    for (int64_t k = 0; k < steps; k++) {
        if (evaluate(t, noise + k * t->particles * t->noise, losses + k) || !all_finite(t, losses[k]))
            return k;
        clip(t);
        move(t, rates[k], t->taken + k + 1);
    }
    return steps;
}

/* Takes `steps` steps, or as many as go well: the number. Where one does not, the parameters are those before it. */
int64_t sursum_steps(const struct task *t, int64_t steps, const double *noise, const double *rates, double *losses)
{
    gather(t, t->point, t->values);
    gather(t, t->first, t->firsts);
    gather(t, t->second, t->seconds);
    const int64_t taken = take(t, steps, noise, rates, losses);
    if (taken) {
        scatter(t, t->point, t->values);
        scatter(t, t->first, t->firsts);
        scatter(t, t->second, t->seconds);
        for (int64_t k = 0; t->counts && k < t->parts; k++)
            *t->counts[k] = (float)(t->taken + taken);
    }
    return taken;
}
