"""That what was captured is the program: values, branches and gradients compared, at points near and far.

Imports `capture` and `graph`; the way through the compiler imports it.
"""
