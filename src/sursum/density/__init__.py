"""A program as a function q ∈ Rⁿ ↦ log p: the layout of latent sites in q, bijections onto supports, initial values.

Imports `handlers` and below; the compiler and everything that runs densities import it.
"""
