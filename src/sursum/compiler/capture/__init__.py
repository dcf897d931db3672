"""From a program to a graph: one recorded run, and what is refused because a recording could not be the program.

Imports `graph`; `check`, `scan` and the way through the compiler import it.
"""
