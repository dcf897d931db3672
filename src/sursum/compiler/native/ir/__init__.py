"""The loop program between ATen operators and C: stages, index expressions, affine places.

Imports no other part of the native engine; all of them import it.
"""
