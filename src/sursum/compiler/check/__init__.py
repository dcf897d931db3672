"""Check that the captured graph is equivalent to the program: compare values, branches and gradients, near and far.

Imports `capture` and `graph`; the way through the compiler imports it.
"""
