static int64_t su_intfloordiv(int64_t a, int64_t b)
{
    if (b == 0 || b == -1)
        return b == 0 ? 0 : (int64_t)(0 - (uint64_t)a);
    const int64_t ratio = a / b;
    return ratio - (a % b != 0 && (a < 0) != (b < 0));
}
