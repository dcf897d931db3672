/* columns[c, k, s] = x[c, s * step + k * gap]; every array is contiguous. */
static void su_unfold(int64_t channels,
                       int64_t places0, int64_t places1, int64_t places2, int64_t kernel0, int64_t kernel1, int64_t kernel2,
                       int64_t x0, int64_t x1, int64_t x2, int64_t step0, int64_t step1, int64_t step2, int64_t gap0,
                       int64_t gap1, int64_t gap2, const double *x, double *columns)
{
    for (int64_t c = 0; c < channels; c++, x += x0 * x1 * x2)
        for (int64_t i = 0; i < kernel0; i++)
            for (int64_t j = 0; j < kernel1; j++)
                for (int64_t k = 0; k < kernel2; k++)
                    for (int64_t p = 0; p < places0; p++)
                        for (int64_t q = 0; q < places1; q++, columns += places2) {
                            const double *const row =
                                x + ((p * step0 + i * gap0) * x1 + q * step1 + j * gap1) * x2 + k * gap2;
                            if (step2 == 1)
                                for (int64_t r = 0; r < places2; r++)
                                    columns[r] = row[r];
                            else
                                for (int64_t r = 0; r < places2; r++)
                                    columns[r] = row[r * step2];
                        }
}
