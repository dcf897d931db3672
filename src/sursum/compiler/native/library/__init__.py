"""Compilers and compiled libraries: which compiler, how it is called, what it made, cached, loaded, and timed.

Imports nothing of lowering and emission; `build` and `export` import it.
"""
