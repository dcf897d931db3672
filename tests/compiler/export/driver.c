/* Loads nothing of Python: calls a model through BridgeStan's interface and prints what it says.
   Arguments: the unconstrained values. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct bs_model bs_model;
typedef struct bs_rng bs_rng;
extern bs_model *bs_model_construct(const char *, unsigned int, char **);
extern void bs_model_destruct(bs_model *);
extern void bs_free_error_msg(char *);
extern int bs_param_num(const bs_model *, bool, bool);
extern int bs_param_unc_num(const bs_model *);
extern int bs_log_density_gradient(const bs_model *, bool, bool, const double *, double *, double *, char **);
extern int bs_log_density_hessian(const bs_model *, bool, bool, const double *, double *, double *, double *, char **);
extern int bs_param_constrain(const bs_model *, bool, bool, const double *, double *, bs_rng *, char **);
extern int bs_param_unconstrain(const bs_model *, const double *, double *, char **);
extern int bs_param_unconstrain_json(const bs_model *, const char *, double *, char **);

static void show(const char *what, const double *x, int n)
{
    printf("%s", what);
    for (int i = 0; i < n; i++)
        printf(" %.17g", x[i]);
    printf("\n");
}

int main(int count, char **words)
{
    char *error = NULL;
    if (bs_model_construct("{\"y\": 1}", 0, &error))
        return 2;
    printf("error %s\n", error);
    bs_free_error_msg(error);
    bs_model *const model = bs_model_construct(NULL, 0, &error);
    const int n = bs_param_unc_num(model), all = bs_param_num(model, true, true);
    if (count != n + 1)
        return 3;
    double *const q = malloc(n * sizeof *q), *const again = malloc(n * sizeof *q), *const gradient = malloc(n * sizeof *q);
    double *const hessian = malloc((size_t)n * n * sizeof *q), *const values = malloc(all * sizeof *q), value;
    for (int i = 0; i < n; i++)
        q[i] = strtod(words[i + 1], NULL);
    if (bs_log_density_gradient(model, false, true, q, &value, gradient, &error))
        return 4;
    show("value", &value, 1);
    show("gradient", gradient, n);
    if (bs_param_constrain(model, true, true, q, values, NULL, &error) || bs_param_unconstrain(model, values, again, &error))
        return 5;
    show("values", values, all);
    show("again", again, n);
    if (bs_log_density_hessian(model, false, true, q, &value, gradient, hessian, &error))
        return 6;
    show("hessian", hessian, n * n);
    const char *const broken[] = {"", "[1]", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\": [1, [", "{\"nothing\": 1}", "{}"};
    for (size_t k = 0; k < sizeof broken / sizeof *broken; k++) {
        if (!bs_param_unconstrain_json(model, broken[k], again, &error))
            return 7;
        bs_free_error_msg(error);
    }
    bs_model_destruct(model);
    free(q), free(again), free(gradient), free(hessian), free(values);
    return 0;
}
