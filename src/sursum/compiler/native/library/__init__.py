"""Compilers and compiled libraries: which compiler, how it is called, what it made, cached, loaded, and timed."""
