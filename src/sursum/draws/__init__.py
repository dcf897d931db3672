"""Draws without the program that they came from: diagnostics, summary table, conversion to ArviZ, store.

Imports `io` and `common`; `predict`, `posterior` and everything that draws import it.
"""
