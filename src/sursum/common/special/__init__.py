"""Special functions that torch lacks, in double precision: NumPy here, and the same in C in `compiler/native/c`.

Each is an operator of torch's, so that a capture sees it, with its derivatives by all its arguments. `functions` has the public
names, which `ops` passes on; the rest imports only torch's private names, and `precision` uses it.
"""
