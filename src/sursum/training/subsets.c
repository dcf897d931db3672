/* Some of the integers below a number, without replacement: Floyd's method, a set of those that are taken, and a generator that the
   caller brings along. */
#include <stdint.h>
#include <string.h>

typedef uint64_t (*source)(void *);

/* One of the integers below n, each as likely as any other (Lemire's method). */
static uint64_t below(source next, void *state, uint64_t n)
{
    unsigned __int128 product = (unsigned __int128)next(state) * n;
    if ((uint64_t)product < n) {
        const uint64_t least = -n % n;
        while ((uint64_t)product < least)
            product = (unsigned __int128)next(state) * n;
    }
    return (uint64_t)(product >> 64);
}

/* Adds a number to the set; 0 if it is there already. Places are a power of two, of which at least half are free. */
static int add(int64_t *set, uint64_t last, int64_t number)
{
    uint64_t place = ((uint64_t)number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & last;
    for (; set[place] >= 0; place = (place + 1) & last)
        if (set[place] == number)
            return 0;
    set[place] = number;
    return 1;
}

/* `rows` times `count` of `size`, as doubles, a row every `stride` of them. `set` has `last` + 1 places. */
void sursum_subsets(source next, void *state, int64_t count, int64_t size, int64_t rows, double *out, int64_t stride, int64_t *set,
                    uint64_t last)
{
    for (int64_t row = 0; row < rows; row++, out += stride) {
        memset(set, -1, sizeof *set * (last + 1));
        for (int64_t k = 0; k < count; k++) {
            const int64_t top = size - count + k;
            int64_t found = (int64_t)below(next, state, (uint64_t)top + 1);
            if (!add(set, last, found))
                add(set, last, found = top);
            out[k] = (double)found;
        }
    }
}
