"""Special functions that torch lacks, in double precision: NumPy here, and the same in C in `compiler/native/c`.

Each is an operator of torch's, so that a capture sees it, with its derivatives by all its arguments. Imports nothing of ours
but torch's private names; `precision`, `ops` and the distributions use it.
"""
