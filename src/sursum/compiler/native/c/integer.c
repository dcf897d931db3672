/* Cut off; the lowest integer where there is none. */
static inline int64_t su_integer(double x)
{
    return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}
