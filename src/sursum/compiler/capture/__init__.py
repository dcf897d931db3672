"""From a program to a graph: one recorded run, and the checks that the recording is equivalent to the program.

Imports `graph`; `check`, `scan` and the way through the compiler import it.
"""
