"""A program as a function q ∈ Rⁿ ↦ log p: where each latent site stands in q, its support undone, its initial values.

Imports `handlers` and below; the compiler and what runs densities import it.
"""
