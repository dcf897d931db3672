/* The largest and the smallest of a loop. OpenMP's own max starts at -DBL_MAX in clang's loops, which is above -INFINITY. */
#ifdef __clang__
#pragma omp declare reduction(su_max:double:omp_out = omp_in > omp_out ? omp_in : omp_out) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(su_min:double:omp_out = omp_in < omp_out ? omp_in : omp_out) initializer(omp_priv = INFINITY)
#else
#define su_max max
#define su_min min
#endif
