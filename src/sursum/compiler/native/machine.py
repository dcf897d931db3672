"""What the C is tuned to: the numbers that stand for machines and not for mathematics, each with its unit and why it is chosen.

They were found with `benchmarks/gradients.py` and `benchmarks/kernels.py` on x86-64 with AVX2 and AVX-512. No result depends on
one, rounding aside.
"""

from __future__ import annotations

# Vectors ----------------------------------------------------------------------------------------------------------------

#: Doubles in a vector as compilers take them by default (AVX2), and in the widest there is (AVX-512).
LANES, WIDEST_LANES = 4, 8
#: Iterations. An innermost loop that is shorter has no vectors to speak of.
SHORT_LOOP = 8
#: Iterations. From here on a loop with vectors is worth that its loads have strides.
STRIDED_LOOP = 16
#: Iterations. From here on to start an innermost loop costs nothing to speak of.
WHOLE_LOOP = 1_000
#: Iterations. From here on an innermost loop gains by the widest vectors, which set the clock of a processor back …
LONG_LOOP = 24
#: … so that they are taken only where long loops make this many times the iterations of the others.
LONG_LOOPS_OUTWEIGH = 4

# Fusion and hoisting ----------------------------------------------------------------------------------------------------

#: Levels. Deeper expressions run out of registers, and cost the C compiler more than their share of time.
FUSED_DEPTH = 40
#: Stages. In larger groups a C function takes the compiler more than its share of time.
GROUP_STAGES = 150
#: Numbers. For fewer, the way through memory costs more than a function's vector form saves.
HOISTED_NUMBERS = 64

# Tiles, panels, rows at a time ------------------------------------------------------------------------------------------

#: Bytes of a shared array. From here on, the size of an L1 cache, fetching it once is worth the tile's overhead.
TILE_ARRAY_BYTES = 32_768
#: Bytes of rows in one block of a tile: half of an L1 cache, which the sums and what else is read share.
TILE_BLOCK_BYTES = 16_384
#: Rows. A block is a multiple of this: whole vectors of the widest kind.
TILE_ROWS = 8
#: Rows of a block where rows lie innermost, each of them an element of vectors.
TILE_VECTORS = 64
#: Rows of a panel: five vectors of AVX-512, or ten of AVX2, which with what they are multiplied by fit the registers. The same
#: number is in ``c/lanes.c``.
PANEL_ROWS = 40
#: Columns, from and to. A few are products without a matrix, and of very many the sums leave the cache.
PANEL_COLUMNS = 4, 256
#: Rows that are unrolled and jammed: as many sums wait for one another no more, and registers do not run out.
JAM_ROWS = 4
#: Iterations of the inner loop. Shorter ones are unrolled by the C compiler itself.
JAM_COLUMNS = 4
#: Stages of the inner loop. More of them run out of registers.
JAM_STAGES = 3
#: Statements of an innermost loop. Longer ones are not written twice, with divisors that may be subnormal and without.
TWICE_STATEMENTS = 40
#: Rows. From here on a logarithm of products costs less than a logarithm for each row.
JOINT_ROWS = 80
#: Rows of a block of such products where the loop is in no tile; products of a thousand could overflow.
JOINT_BLOCK = 240
#: Terms. Sums of more are not searched for logarithms.
JOINT_TERMS = 32

# BLAS and LAPACK, against loops of ours ----------------------------------------------------------------------------------

#: Multiplications of a product of matrices (or of a sample's convolution). From here on loops of ours are not the fastest.
BLAS_PRODUCT = 4_000
#: Multiplications of a product of matrices. Up to here sums in registers are faster than dgemm, which takes some microseconds
#: to lay out what it reads.
REGISTER_PRODUCT = 160_000
#: Rows of a matrix. From here on dpotrf and dtrsm are faster.
LAPACK_ROWS = 48
#: Rows of a triangle that is kept row by row. Smaller ones are left to loops.
TRIANGLE_ROWS = 16
#: Copies into which a scatter of many rows adds in turn: as many additions are under way at once.
SCATTER_COPIES = 4

# Memory and the C compiler ----------------------------------------------------------------------------------------------

#: Bytes of a line of cache, in which workspace is given out.
CACHE_LINE = 64
#: Bytes that a step of a scan may have on the stack: sampler threads have little of it.
STACK_BYTES = 32_768
#: Statements in a C function. Above this the compiler's time stops growing in proportion.
PART_STATEMENTS = 300
#: Statements in all, up to which a level of optimisation gives more than it costs; above the last it is -O1.
OPTIMISATION_LEVELS = ((1500, "-O3"), (4000, "-O2"))
