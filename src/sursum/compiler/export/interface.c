/* BridgeStan's published C interface, version 2.9, on top of what stands above: the functions `density`, `likelihood`,
   `constrain` and `unconstrain`, and the table of sites. Nothing here is changed after loading, so any thread may call. */

#include <float.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

PUBLIC const int bs_major_version = 2;
PUBLIC const int bs_minor_version = 9;
PUBLIC const int bs_patch_version = 0;

typedef struct bs_model {
    _Atomic(void *) spare; /* a workspace that nobody uses just now */
} bs_model;

typedef struct bs_rng {
    uint64_t state;
} bs_rng;

static const char outside[] = "the point lies outside of the support of the model";

/* An error always carries a message of its own, which bs_free_error_msg frees. */
static int fail(char **error, const char *what, const char *detail)
{
    if (error) {
        const size_t length = strlen(what) + strlen(detail) + 3;
        *error = malloc(length);
        if (*error)
            snprintf(*error, length, *detail ? "%s: %s" : "%s", what, detail);
    }
    return -1;
}

/* Workspaces: the model keeps one at hand; threads that find it taken make their own for the call. */
static void *take(const bs_model *model)
{
    void *const spare = atomic_exchange(&((bs_model *)model)->spare, NULL);
    return spare ? spare : aligned_alloc(64, (WORKSPACE + 63) / 64 * 64);
}

static void give(const bs_model *model, void *workspace)
{
    free(atomic_exchange(&((bs_model *)model)->spare, workspace));
}

/* One call of a function: 0, or what it returned; -2 without memory. */
static int64_t call(const bs_model *model, const struct function *f, const double *in, double *out, double *value)
{
    void *const workspace = take(model);
    if (!workspace)
        return -2;
    const struct instance instance = {workspace, f->constants, f->blas};
    const int64_t code = f->run(f->dim, in, out, value, (void *)&instance);
    give(model, workspace);
    return code;
}

static int evaluate(const bs_model *model, bool jacobian, const double *q, double *value, double *gradient, char **error)
{
    const int64_t code = call(model, jacobian ? &density : &likelihood, q, gradient, value);
    return code < 0 ? fail(error, "log density", "out of memory") : 0;
}

PUBLIC bs_model *bs_model_construct(const char *data, unsigned int seed, char **error)
{
    (void)seed;
    if (data && *data && strcmp(data, "{}") != 0) {
        fail(error, "this model has its data inside", "give no data, or export the program again with other data");
        return NULL;
    }
    bs_model *const model = malloc(sizeof *model);
    if (model)
        atomic_init(&model->spare, NULL);
    else
        fail(error, "model", "out of memory");
    return model;
}

PUBLIC void bs_model_destruct(bs_model *model)
{
    if (model)
        free(atomic_load(&model->spare));
    free(model);
}

PUBLIC void bs_free_error_msg(char *error)
{
    free(error);
}

PUBLIC const char *bs_name(const bs_model *model)
{
    (void)model;
    return NAME;
}

PUBLIC const char *bs_model_info(const bs_model *model)
{
    (void)model;
    return "sursum " VERSION "\nSTAN_THREADS=true\n";
}

PUBLIC const char *bs_param_names(const bs_model *model, bool include_tp, bool include_gq)
{
    (void)model, (void)include_gq;
    return include_tp ? ALL_NAMES : LATENT_NAMES;
}

PUBLIC const char *bs_param_unc_names(const bs_model *model)
{
    (void)model;
    return FREE_NAMES;
}

PUBLIC int bs_param_num(const bs_model *model, bool include_tp, bool include_gq)
{
    (void)model, (void)include_gq;
    return include_tp ? ALL : LATENT;
}

PUBLIC int bs_param_unc_num(const bs_model *model)
{
    (void)model;
    return FREE;
}

PUBLIC int bs_param_constrain(const bs_model *model, bool include_tp, bool include_gq, const double *free_values,
                              double *values, bs_rng *rng, char **error)
{
    (void)include_gq, (void)rng;
    double *const all = malloc((ALL + 1) * sizeof *all);
    double unused;
    const int64_t code = all ? call(model, &constrain, free_values, all, &unused) : -2;
    if (!code)
        memcpy(values, all, (include_tp ? ALL : LATENT) * sizeof *values);
    free(all);
    return code < 0 ? fail(error, "param_constrain", "out of memory") : code ? fail(error, "param_constrain", outside) : 0;
}

PUBLIC int bs_param_unconstrain(const bs_model *model, const double *values, double *free_values, char **error)
{
    double unused;
    const int64_t code = call(model, &unconstrain, values, free_values, &unused);
    if (code < 0)
        return fail(error, "param_unconstrain", "out of memory");
    for (int i = 0; !code && i < FREE; i++)
        if (!isfinite(free_values[i]))
            return fail(error, "param_unconstrain", outside);
    return code ? fail(error, "param_unconstrain", outside) : 0;
}

/* JSON: an object of numbers and nested arrays of numbers, by the names of sites. */

struct reader {
    const char *at;
    const char *problem;
};

static void skip(struct reader *json)
{
    json->at += strspn(json->at, " \t\r\n");
}

static bool next(struct reader *json, char wanted)
{
    skip(json);
    if (*json->at != wanted)
        return false;
    json->at++;
    return true;
}

static double number(struct reader *json)
{
    skip(json);
    char *end;
    const bool quoted = *json->at == '"'; /* "inf", "-inf" and "NaN" are strings there */
    const double value = strtod(json->at + quoted, &end);
    if (end == json->at + quoted || (quoted && *end != '"'))
        json->problem = "a number is missing";
    else
        json->at = end + quoted;
    return value;
}

/* The elements of a site below one index, written column-major: the first index moves fastest. */
static void elements(struct reader *json, const struct site *site, int depth, int64_t place, int64_t step, double *values)
{
    if (depth == site->rank) {
        values[site->start + place] = number(json);
        return;
    }
    if (!next(json, '['))
        json->problem = "a value has fewer dimensions than its site";
    for (int64_t i = 0; i < site->shape[depth] && !json->problem; i++) {
        if (i && !next(json, ','))
            json->problem = "a value has another shape than its site";
        else
            elements(json, site, depth + 1, place + i * step, step * site->shape[depth], values);
    }
    if (!json->problem && !next(json, ']'))
        json->problem = "a value has another shape than its site";
}

/* Reads what the text holds of the latent sites; `found` marks them. */
static int read_json(const char *text, double *values, bool *found, char **error)
{
    struct reader json = {text, NULL};
    if (!next(&json, '{'))
        json.problem = "an object was expected";
    bool more = !json.problem && !next(&json, '}');
    while (more && !json.problem) {
        if (!next(&json, '"')) {
            json.problem = "a name was expected";
            break;
        }
        const char *const name = json.at;
        const size_t length = strcspn(name, "\"");
        json.at += length + (name[length] == '"');
        int k = 0;
        while (k < LATENT_SITES && !(strlen(sites[k].name) == length && !memcmp(sites[k].name, name, length)))
            k++;
        if (k == LATENT_SITES)
            json.problem = "a name that is not a latent site";
        else if (!next(&json, ':'))
            json.problem = "a colon is missing";
        else
            elements(&json, &sites[k], 0, 0, 1, values), found[k] = true;
        if (!json.problem && !(more = next(&json, ',')) && !next(&json, '}'))
            json.problem = "a comma or the closing brace is missing";
    }
    if (json.problem) {
        char detail[160];
        snprintf(detail, sizeof detail, "%s, before '%.40s'", json.problem, json.at);
        return fail(error, "the values could not be read", detail);
    }
    return 0;
}

PUBLIC int bs_param_unconstrain_json(const bs_model *model, const char *text, double *free_values, char **error)
{
    bool found[LATENT_SITES] = {false};
    double *const values = malloc((LATENT + 1) * sizeof *values);
    if (!values)
        return fail(error, "param_unconstrain_json", "out of memory");
    int code = read_json(text, values, found, error);
    for (int k = 0; !code && k < LATENT_SITES; k++)
        if (!found[k])
            code = fail(error, "a latent site has no value", sites[k].name);
    if (!code)
        code = bs_param_unconstrain(model, values, free_values, error);
    free(values);
    return code;
}

PUBLIC int bs_log_density(const bs_model *model, bool propto, bool jacobian, const double *free_values, double *value,
                          char **error)
{
    (void)propto;
    double *const gradient = malloc((FREE + 1) * sizeof *gradient);
    const int code = gradient ? evaluate(model, jacobian, free_values, value, gradient, error)
                              : fail(error, "log_density", "out of memory");
    free(gradient);
    return code;
}

PUBLIC int bs_log_density_gradient(const bs_model *model, bool propto, bool jacobian, const double *free_values,
                                   double *value, double *gradient, char **error)
{
    (void)propto;
    return evaluate(model, jacobian, free_values, value, gradient, error);
}

/* The Hessian times a vector, by central differences of the gradient along it. */
static int product(const bs_model *model, bool jacobian, const double *q, const double *v, double *result, double *space,
                   char **error)
{
    double size = 0.0, reach = 1.0, value;
    for (int i = 0; i < FREE; i++) {
        size = fmax(size, fabs(v[i]));
        reach = fmax(reach, v[i] != 0.0 ? fabs(q[i]) : 0.0);
    }
    double *const point = space, *const ahead = space + FREE;
    const double step = size > 0.0 ? cbrt(DBL_EPSILON) * reach / size : 1.0;
    for (int i = 0; i < FREE; i++)
        point[i] = q[i] + step * v[i];
    if (evaluate(model, jacobian, point, &value, ahead, error))
        return -1;
    for (int i = 0; i < FREE; i++)
        point[i] = q[i] - step * v[i];
    if (evaluate(model, jacobian, point, &value, result, error))
        return -1;
    for (int i = 0; i < FREE; i++)
        result[i] = (ahead[i] - result[i]) / (2.0 * step);
    return 0;
}

PUBLIC int bs_log_density_hessian(const bs_model *model, bool propto, bool jacobian, const double *free_values,
                                  double *value, double *gradient, double *hessian, char **error)
{
    (void)propto;
    double *const space = calloc(3 * FREE + 1, sizeof *space);
    if (!space)
        return fail(error, "log_density_hessian", "out of memory");
    double *const unit = space + 2 * FREE;
    int code = evaluate(model, jacobian, free_values, value, gradient, error);
    for (int i = 0; !code && i < FREE; i++) {
        unit[i] = 1.0;
        code = product(model, jacobian, free_values, unit, hessian + (size_t)i * FREE, space, error);
        unit[i] = 0.0;
    }
    for (int i = 0; !code && i < FREE; i++)
        for (int j = 0; j < i; j++) {
            double *const low = &hessian[(size_t)i * FREE + j], *const high = &hessian[(size_t)j * FREE + i];
            *low = *high = 0.5 * (*low + *high);
        }
    free(space);
    return code;
}

PUBLIC int bs_log_density_hessian_vector_product(const bs_model *model, bool propto, bool jacobian,
                                                 const double *free_values, const double *v, double *value,
                                                 double *result, char **error)
{
    double *const space = malloc((2 * FREE + 1) * sizeof *space);
    int code = space ? bs_log_density(model, propto, jacobian, free_values, value, error)
                     : fail(error, "log_density_hessian_vector_product", "out of memory");
    if (!code)
        code = product(model, jacobian, free_values, v, result, space, error);
    free(space);
    return code;
}

/* Random numbers: splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */

PUBLIC bs_rng *bs_rng_construct(unsigned int seed, char **error)
{
    bs_rng *const rng = malloc(sizeof *rng);
    if (rng)
        rng->state = seed;
    else
        fail(error, "rng", "out of memory");
    return rng;
}

PUBLIC void bs_rng_destruct(bs_rng *rng)
{
    free(rng);
}

static double uniform(bs_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* A start: what the text holds, the rest uniform on the unconstrained scale, until the log density is finite. */
PUBLIC int bs_param_initialize(const bs_model *model, const char *text, bs_rng *rng, double radius, int max_tries,
                               bool jacobian, double *free_values, char **error)
{
    bool found[LATENT_SITES] = {false};
    double *const given = malloc((LATENT + ALL + FREE + 1) * sizeof *given);
    if (!given)
        return fail(error, "param_initialize", "out of memory");
    double *const values = given + LATENT, *const gradient = values + ALL, value = 0.0;
    int code = text && *text ? read_json(text, given, found, error) : 0;
    bool done = false;
    for (int t = 0; !code && !done && t < max_tries; t++) {
        for (int i = 0; i < FREE; i++)
            free_values[i] = radius * (2.0 * uniform(rng) - 1.0);
        if (text && *text) {
            if (bs_param_constrain(model, false, false, free_values, values, NULL, NULL))
                continue;
            for (int k = 0; k < LATENT_SITES; k++)
                if (found[k])
                    memcpy(values + sites[k].start, given + sites[k].start, sites[k].size * sizeof *values);
            code = bs_param_unconstrain(model, values, free_values, error);
        }
        double lp = value;
        if (!code)
            code = evaluate(model, jacobian, free_values, &lp, gradient, error);
        done = !code && isfinite(lp);
        for (int i = 0; done && i < FREE; i++)
            done = isfinite(gradient[i]);
    }
    free(given);
    return code || done ? code : fail(error, "param_initialize", "no start with a finite log density was found");
}

PUBLIC int bs_set_print_callback(void (*callback)(const char *, size_t), char **error)
{
    (void)callback, (void)error;
    return 0;
}
