"""`Posterior`: the draws of a run, and everything that can be done with them.

Imports `predict`, `draws` and below; `mcmc`, `vi` and `optimise` return one.
"""
