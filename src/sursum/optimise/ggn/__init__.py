"""The curvature of networks: generalised Gauss–Newton and empirical Fisher matrices, whole or by blocks.

`fisher` has the information of families, `layers` records where weights are used, `rows` computes derivatives row by row,
`structures` holds what is kept of the matrix. Imports `posterior`, `compiler` and below; `optimise` imports it.
"""
