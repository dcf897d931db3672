/* How many threads BLAS uses: it is our own, and uses none. */
static int su_threads(int n)
{
    return n;
}
