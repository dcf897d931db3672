"""Draws without the program that they came from: their diagnostics, their table, ArviZ's form, their store.

Imports `io` and `common`; `predict`, `posterior` and what draws import it.
"""
