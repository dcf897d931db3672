/* Rows side by side: as many doubles as a register holds, and as many of those as a panel of 40 rows has. */
#ifdef __AVX512F__
enum { SU_LANES = 8, SU_PARTS = 5 };
#else
enum { SU_LANES = 4, SU_PARTS = 10 };
#endif
typedef double su_lanes __attribute__((vector_size(8 * SU_LANES), aligned(8), may_alias));
