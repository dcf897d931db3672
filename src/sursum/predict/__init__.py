"""A program at many draws of its posterior, or of its prior: predictions, log likelihoods, networks as ensembles.

Imports `draws`, `handlers` and below; `posterior` imports it.
"""
